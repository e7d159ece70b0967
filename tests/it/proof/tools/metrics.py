"""Reads metrics as Prometheus' own client does, and prints what it read."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type != "unknown", family
    families[family.name] = {"type": family.type, "samples": len(family.samples)}
    if family.type == "histogram":
        buckets = [s for s in family.samples if s.name.endswith("_bucket")]
        counts = [s for s in family.samples if s.name.endswith("_count")]
        last = {s.labels["lane"]: s.value for s in buckets if s.labels["le"] == "+Inf"}
        assert last == {s.labels["lane"]: s.value for s in counts}, (last, counts)
        for lane in last:
            of_lane = [s.value for s in buckets if s.labels["lane"] == lane]
            assert of_lane == sorted(of_lane), of_lane
print(json.dumps(families))
