package policy

import (
	"encoding/json"
	"testing"

	"openr/internal/allocs"
	"openr/thrift/gen/routingpolicy"
)

// FuzzCost: no policy costs more memory to compile than so much for each byte of its text.
func FuzzCost(f *testing.F) {
	f.Add(`{"ruleset": [{"criteria": [{"basePrefixIPv6": "::/0", "minLengthIPv6": -5, "maxLengthIPv6": 300}]}]}`)
	f.Add(`{"ruleset": [{"_name": "x", "ruleMatchAction": "gotoRule", "targetRule": "y"}, {"_name": "y"}], "rulesetMissAction": "allow"}`)
	f.Fuzz(func(t *testing.T, policy string) {
		text := `{` + definitions + `, "filters": {` + filters + `, "routePropagationPolicy": {"objects": {"p": ` + policy + `}}}}`
		section := routingpolicy.NewPolicyConfig()
		if json.Unmarshal([]byte(text), section) != nil {
			return
		}
		allocs.Bound(t, len(text), 1<<20, 8<<10, func() { Compile(section) })
	})
}
