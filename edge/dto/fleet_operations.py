"""The operations by which operators see the fleet and say who leads it."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from edge.dto.administration_operations import OPERATOR
from edge.dto.described import Described
from edge.dto.fleet_status import FleetStatus
from edge.dto.policies import Policy


class Promotion(msgspec.Struct, forbid_unknown_fields=True):
    """`force`: although the primary answers, or another node has read further."""

    force: bool = False


class HandOver(msgspec.Struct, forbid_unknown_fields=True):
    """The node that is to lead."""

    node: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class Leader(msgspec.Struct):
    """Who leads from now on."""

    epoch: int
    node: str
    url: str


FLEET: Final = OPERATOR + "/fleet"
PROMOTE: Final = FLEET + "/promote"
HAND_OVER: Final = FLEET + "/hand-over"

FLEET_OPERATIONS: Final = (
    Described(
        "operator.fleet",
        "GET",
        FLEET,
        Policy.OPERATOR,
        "Every node and tenant of the fleet",
        None,
        FleetStatus,
    ),
    Described(
        "operator.fleet.promote",
        "POST",
        PROMOTE,
        Policy.OPERATOR,
        "Make this node the primary, whose predecessor is lost",
        Promotion,
        Leader,
    ),
    Described(
        "operator.fleet.hand-over",
        "POST",
        HAND_OVER,
        Policy.OPERATOR,
        "Let another node be the primary",
        HandOver,
        Leader,
    ),
)
