"""The script of Figure 3: which units a ball takes, by votes and by consensus."""

import pytest
import torch

pytest.importorskip("matplotlib")

from experiments import selection_map


def test_dynamic_k_takes_the_largest_votes_and_em_the_common_ones(tmp_path, capsys):
    choice = selection_map.choose(*selection_map.scene())
    assert choice.largest.sum(-1).tolist() == [selection_map.K] * len(selection_map.CENTRES)
    for votes, near, largest in zip(choice.votes, choice.near, choice.largest, strict=True):
        assert torch.equal(votes[largest].sort().values, votes.sort().values[-selection_map.K :])
        assert votes[near].mean() < votes[largest].min()
    assert selection_map.main(["--out", str(tmp_path)]) == 0
    assert (tmp_path / "fig3.png").stat().st_size > 0
    assert "Dynamic-5 takes 5 with 80%" in capsys.readouterr().out
