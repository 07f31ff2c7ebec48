"""What the answer of show says a model can do."""

import pytest

from gristmill.api.cli.abilities import Abilities


@pytest.mark.parametrize(
    ("facts", "abilities"),
    [
        ({}, Abilities()),
        ({"capabilities": None}, Abilities()),
        ({"capabilities": ["completion", "tools"]}, Abilities()),
        ({"capabilities": ["completion", "thinking"]}, Abilities(thinks=True)),
        ({"capabilities": ["completion", "vision"]}, Abilities(takes_files=True)),
        ({"capabilities": ["completion", "audio"]}, Abilities(takes_files=True)),
        ({"projector_info": {"general.architecture": "clip"}}, Abilities(takes_files=True)),
        ({"capabilities": ["embedding"]}, Abilities(embeds=True)),
    ],
)
def test_abilities_are_read_from_the_facts(facts, abilities):
    assert Abilities.of(facts) == abilities
