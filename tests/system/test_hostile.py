"""A few hundred hostile inputs (the benchmark sends 20,000): no undeclared 5xx, no crash, no good event lost."""

from pathlib import Path

from tests.hostile.campaign import Campaign


def test_hostile_input_harms_nobody(env: dict[str, str], cloud_directory: Path) -> None:
    campaign = Campaign(env=env, logs=cloud_directory / "logs")
    campaign.attack_collect(320)
    campaign.attack_ingest(64)
    campaign.attack_landing(15)
    result = campaign.finish(seconds=60)
    assert len(result.good_ids) == 20
    assert result.problems == []
