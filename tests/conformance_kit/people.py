"""The kit's people on a node process of the tests' own."""


class NodePeople:
    """Tokens minted with the node's development key, members by an operator's requests."""

    can_manage = True

    def __init__(self, node):
        self.node = node

    async def token(self, person):
        return self.node.token(person)

    async def set_member(self, space, person, role):
        self.node.set_member(space, person, role)

    async def remove_member(self, space, person):
        self.node.remove_member(space, person)
