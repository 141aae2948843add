package main

import (
	"encoding/json"
	"reflect"
	"testing"

	"openr/thrift/gen/kvstore"
)

// FuzzValues shows whatever may stand in a store, and compares it with something else.
func FuzzValues(f *testing.F) {
	for key, v := range store() {
		f.Add(key, v.Value)
	}
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		if valueText(key, data) == "" && len(data) > 0 && !printable(data) {
			t.Errorf("nothing is shown of %q", data)
		}
		if _, err := json.Marshal(plain(reflect.ValueOf(decoded(key, data)))); err != nil {
			t.Errorf("%q: %v", data, err)
		}
		v := &kvstore.Value{Value: data}
		for _, c := range dataDelta(key, nil, v) {
			_ = c.line()
		}
		if d := dataDelta(key, v, v); len(d) > 0 {
			t.Errorf("%q differs from itself: %v", data, d)
		}
		for known, other := range store() {
			dataDelta(known, other, v)
			dataDelta(known, v, other)
		}
	})
}

// FuzzPolicy reads policies.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{"ttl_secs": 1, "statements": [{"name": "s", "matcher": {"prefixes": ["::/0"]}, "action": {"set_weight": {}}}]}`))
	f.Add([]byte(`{"statements": [{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		policy, err := readPolicy(text)
		if err != nil {
			return
		}
		(&app{out: discard{}}).printPolicy(policy)
	})
}
