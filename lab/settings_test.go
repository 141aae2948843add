package lab

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestOverlay(t *testing.T) {
	base := map[string]any{"a": 1, "b": map[string]any{"c": 2, "d": 3}, "e": 4}
	got := overlay(base, map[string]any{"a": nil, "b": map[string]any{"d": 5}, "e": map[string]any{"f": 6}})
	want := map[string]any{"b": map[string]any{"c": 2, "d": 5}, "e": map[string]any{"f": 6}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, expected %v", got, want)
	}
	if base["a"] != 1 || base["b"].(map[string]any)["d"] != 3 {
		t.Errorf("the base has changed: %v", base)
	}
}

func TestReadConfig(t *testing.T) {
	read := func(change map[string]any) configured {
		t.Helper()
		text, err := json.Marshal(overlay(DefaultConfig(0), change))
		if err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := read(nil); !c.ipv4 || c.nativeV4 || len(c.originated) != 0 {
		t.Errorf("defaults: %+v", c)
	}
	if c := read(map[string]any{"v4_over_v6_nexthop": false}); !c.nativeV4 {
		t.Errorf("IPv4 next hops: %+v", c)
	}
	if c := read(map[string]any{"enable_v4": false}); !c.ipv4 || c.nativeV4 {
		t.Errorf("IPv4 through IPv6 next hops alone: %+v", c)
	}
	c := read(map[string]any{"enable_v4": false, "v4_over_v6_nexthop": false, "originated_prefixes": []any{map[string]any{"prefix": "fd01::5/64"}}})
	if c.ipv4 || len(c.originated) != 1 || c.originated[0].String() != "fd01::/64" {
		t.Errorf("%+v", c)
	}
}
