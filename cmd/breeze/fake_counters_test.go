package main

import (
	"context"
	"maps"
	"regexp"
)

// fakeCounters are the counters of the fake agent.
var fakeCounters = map[string]int64{
	"kvstore.num_keys": 8, "kvstore.received_key_vals.sum": 42, "kvstore.received_key_vals.sum.60": 2, "kvstore.received_key_vals.sum.600": 12,
	"kvstore.received_key_vals.sum.3600": 32, "spark.my_seq_num": 17,
}

func (f *fakeAgent) GetCounters(context.Context) (map[string]int64, error) {
	return maps.Clone(fakeCounters), nil
}

func (f *fakeAgent) GetRegexCounters(_ context.Context, expression string) (map[string]int64, error) {
	re, err := regexp.Compile("^(?:" + expression + ")$")
	if err != nil {
		return nil, err
	}
	out := maps.Clone(fakeCounters)
	maps.DeleteFunc(out, func(name string, _ int64) bool { return !re.MatchString(name) })
	return out, nil
}

// GetRunningConfig is a configuration that names tag 65000:1.
func (f *fakeAgent) GetRunningConfig(context.Context) (string, error) {
	return `{"node_name": "node1", "areas": [{"area_id": "0"}], "area_policies": {"definitions": {"openrTag": {"objects":
		{"GOOD": {"tagSet": ["65000:1"]}, "EMPTY": {"tagSet": []}}}}}}`, nil
}
