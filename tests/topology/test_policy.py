from __future__ import annotations

from typing import Any

import pytest

from topology.policy import FixedCopies, PolicyError, TargetLoss, read_policy


def test_policies_are_read() -> None:
    assert read_policy({"copies": 3}) == FixedCopies(3)
    assert read_policy({"target_loss": 1e-4}) == TargetLoss(1e-4)
    assert read_policy(
        {
            "target_loss": 1e-5,
            "min_copies": 1,
            "max_copies": 8,
            "budget": 1.2,
            "deadline": 65,
            "spread": 20,
            "diverse": True,
        }
    ) == TargetLoss(1e-5, 1, 8, 1.2, 0.065, 0.02, True)


@pytest.mark.parametrize(
    ("mapping", "key", "remedy"),
    [
        ({"copies": 5}, "copies", "from 1 to 4"),
        ({"copies": True}, "copies", "whole number"),
        ({"copies": 2, "target_loss": 1e-4}, "target_loss", "keep one of the two"),
        ({"copies": 2, "budget": 1.1}, "budget", "known here: copies"),
        ({}, "target_loss", "target_loss: 1e-4"),
        ({"target_loss": 0}, "target_loss", "from 1e-06 to 0.1"),
        ({"target_loss": 1e-7}, "target_loss", "from 1e-06"),
        ({"target_loss": 1e-4, "min_copies": 3, "max_copies": 2}, "max_copies", "from 3 to 8"),
        ({"target_loss": 1e-4, "max_copies": 9}, "max_copies", "from 2 to 8"),
        ({"target_loss": 1e-4, "budget": 0.9}, "budget", "from 1 to"),
        ({"target_loss": 1e-4, "deadline": "65ms"}, "deadline", "number"),
        ({"target_loss": 1e-4, "spread": 41}, "spread", "from 0 to 40"),
        ({"target_loss": 1e-4, "diverse": 1}, "diverse", "true or false"),
        ({"target_loss": 1e-4, "fec": "xor32"}, "fec", "known here"),
    ],
)
def test_mistakes_name_key_and_remedy(mapping: dict[str, Any], key: str, remedy: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_policy(mapping)
    assert str(caught.value).startswith(f"{key}: ")
    assert remedy in str(caught.value)
