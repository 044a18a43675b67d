"""A table of rate limits in memory, for tests of one process; it passes the port's own tests."""

from core.identity.limits import admit


class MemoryLimits:
    """`LimitTable` in a dictionary."""

    def __init__(self):
        self.arrivals_us = {}
        self.charged = []

    def charge(self, charges, *, now_us):
        answers = {
            charge.key: admit(
                charge.rate,
                arrival_us=self.arrivals_us.get(charge.key, 0),
                now_us=now_us,
                cost=charge.cost,
            )
            for charge in charges
        }
        delay_us = max((answer.delay_us for answer in answers.values()), default=0)
        for key, answer in answers.items():
            if delay_us == 0 or not answer.is_admitted:
                self.arrivals_us[key] = answer.arrival_us
        if delay_us == 0:
            self.charged.extend(charges)
        return delay_us
