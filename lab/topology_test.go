package lab

import (
	"slices"
	"strings"
	"testing"
)

func TestParseTopology(t *testing.T) {
	for _, c := range []struct {
		spec  string
		nodes int
		links []Link
	}{
		{"line:1", 1, nil},
		{"line:3", 3, []Link{{0, 1, "to-n1", "to-n0"}, {1, 2, "to-n2", "to-n1"}}},
		{"line:2*3", 2, []Link{{0, 1, "to-n1", "to-n0"}, {0, 1, "to-n1.2", "to-n0.2"}, {0, 1, "to-n1.3", "to-n0.3"}}},
		{"ring:3", 3, []Link{{0, 1, "to-n1", "to-n0"}, {1, 2, "to-n2", "to-n1"}, {2, 0, "to-n0", "to-n2"}}},
		{"grid:2x2", 4, []Link{{0, 1, "to-n1", "to-n0"}, {0, 2, "to-n2", "to-n0"}, {1, 3, "to-n3", "to-n1"}, {2, 3, "to-n3", "to-n2"}}},
		{"clos:1x2", 3, []Link{{0, 1, "to-n1", "to-n0"}, {0, 2, "to-n2", "to-n0"}}},
		{"full:3", 3, []Link{{0, 1, "to-n1", "to-n0"}, {0, 2, "to-n2", "to-n0"}, {1, 2, "to-n2", "to-n1"}}},
	} {
		got, err := ParseTopology(c.spec)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		if got.Nodes != c.nodes || !slices.Equal(got.Links, c.links) {
			t.Errorf("%s: %d nodes, links %v; expected %d, %v", c.spec, got.Nodes, got.Links, c.nodes, c.links)
		}
	}
}

func TestParseTopologyRefuses(t *testing.T) {
	for spec, reason := range map[string]string{
		"":                  `unknown kind ""`,
		"star:4":            `unknown kind "star"`,
		"line":              `"" is not a whole number`,
		"line:x":            `"x" is not a whole number`,
		"line:0":            "0 is not in the range",
		"line:1101":         "1101 is not in the range",
		"ring:2":            "2 is not in the range 3 to",
		"grid:3":            "takes 2 numbers, not 1",
		"grid:100x100":      "10000 nodes; the limit is",
		"clos:2x-1":         "-1 is not in the range",
		"full:1000":         "499500 links; the limit is",
		"random:5:2":        "takes 3 numbers, not 2",
		"line:2*0":          `"0" after *`,
		"line:2*":           `"" after *`,
		"line:2*65":         `"65" after *`,
		"random:10:2:-1":    "-1 is not in the range",
		"random:10:9999:1":  "9999 is not in the range",
		"grid:99999x999999": "99999 is not in the range",
	} {
		_, err := ParseTopology(spec)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: error %v; expected it to say %q", spec, err, reason)
		} else if !strings.Contains(err.Error(), "clos:SPINESxLEAVES") {
			t.Errorf("%q: the error does not list the valid topologies: %v", spec, err)
		}
	}
}

func TestRandomTopologyIsConnectedAndRepeatable(t *testing.T) {
	for _, spec := range []string{"random:2:1:0", "random:20:3:7", "random:20:3:8", "random:5:100:1"} {
		a, err := ParseTopology(spec)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := ParseTopology(spec)
		if !slices.Equal(a.Links, b.Links) {
			t.Errorf("%s gives different networks", spec)
		}
		for i, routes := range Expected(healthy(a)) {
			if len(routes) != a.Nodes-1 {
				t.Errorf("%s: node %d reaches %d nodes of %d", spec, i, len(routes), a.Nodes-1)
			}
		}
	}
}

func TestInterfaceNamesFitTheKernel(t *testing.T) {
	const most = 15 // IFNAMSIZ less the closing zero
	if name := interfaceName(maxNodes-1, 64); len(name) > most {
		t.Errorf("%s has %d characters", name, len(name))
	}
}

func FuzzParseTopology(f *testing.F) {
	for _, s := range []string{"line:3", "ring:4*2", "grid:2x3", "clos:2x2", "full:4", "random:6:3:1", "*", ":", "line:2*2*2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		topology, err := ParseTopology(spec)
		if err != nil {
			return
		}
		names := map[[2]any]bool{}
		for _, l := range topology.Links {
			if l.A == l.B || l.A < 0 || l.B < 0 || l.A >= topology.Nodes || l.B >= topology.Nodes {
				t.Fatalf("%q: link %+v", spec, l)
			}
			for _, end := range [][2]any{{l.A, l.IfA}, {l.B, l.IfB}} {
				if names[end] {
					t.Fatalf("%q: node %d has two interfaces %s", spec, end[0], end[1])
				}
				names[end] = true
			}
		}
	})
}
