"""Our own client's adapter without a process of its own, so that faults can be planted in it."""

import asyncio
import json

from conformance.case import Report, run_cases
from conformance.client.adapter import Adapter, AdapterError
from conformance.client.door import client_cases
from skerry_client.conformance import __main__ as program
from skerry_client.conformance.phones import Phones


class InProcess(Adapter):
    """Answers as the program does, by way of JSON as well."""

    def __init__(self, capabilities=program.CAPABILITIES):
        super().__init__("in process")
        self.capabilities = capabilities
        self.phones = Phones()

    @property
    def is_running(self):
        return True

    async def ask(self, request, **arguments):
        line = json.loads(json.dumps({"id": 1, "do": request, **arguments}))
        answer = json.loads(program.msgspec.json.encode(await program._answer(line, self.phones)))
        if answer.get("error"):
            raise AdapterError(request, answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    async def end(self):
        await self.phones.close_all()


def asked(only, capabilities=program.CAPABILITIES):
    """Run the cases whose names hold a word; return the results by name."""

    async def run():
        adapter = InProcess(capabilities)
        report = Report("client", lambda _line: None)
        cases = client_cases()
        await run_cases(cases, adapter, report, only=only, capabilities=capabilities)
        await adapter.end()
        return report

    report = asyncio.run(run())
    return {result.name: result for result in report.results}
