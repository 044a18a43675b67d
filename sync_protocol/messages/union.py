"""What each side may send on a stream."""

from __future__ import annotations

from sync_protocol.messages.fault import Fault
from sync_protocol.messages.hello import Hello
from sync_protocol.messages.page import Page
from sync_protocol.messages.poke import Poke
from sync_protocol.messages.provisional import Provisional
from sync_protocol.messages.pull import Pull
from sync_protocol.messages.push import Push
from sync_protocol.messages.pushed import Pushed
from sync_protocol.messages.repair import Repair
from sync_protocol.messages.repaired import Repaired
from sync_protocol.messages.welcome import Welcome

ClientMessage = Hello | Push | Pull | Repair
ServerMessage = Welcome | Pushed | Page | Repaired | Poke | Provisional | Fault
