package zebra

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// documented is the command table of FRR's developer document up to 8.5, 0 to 110 in order.
const documented = `
INTERFACE_ADD INTERFACE_DELETE INTERFACE_ADDRESS_ADD INTERFACE_ADDRESS_DELETE INTERFACE_UP INTERFACE_DOWN
INTERFACE_SET_MASTER INTERFACE_SET_PROTODOWN ROUTE_ADD ROUTE_DELETE ROUTE_NOTIFY_OWNER REDISTRIBUTE_ADD
REDISTRIBUTE_DELETE REDISTRIBUTE_DEFAULT_ADD REDISTRIBUTE_DEFAULT_DELETE ROUTER_ID_ADD ROUTER_ID_DELETE
ROUTER_ID_UPDATE HELLO CAPABILITIES NEXTHOP_REGISTER NEXTHOP_UNREGISTER NEXTHOP_UPDATE INTERFACE_NBR_ADDRESS_ADD
INTERFACE_NBR_ADDRESS_DELETE INTERFACE_BFD_DEST_UPDATE IMPORT_ROUTE_REGISTER IMPORT_ROUTE_UNREGISTER
IMPORT_CHECK_UPDATE BFD_DEST_REGISTER BFD_DEST_DEREGISTER BFD_DEST_UPDATE BFD_DEST_REPLAY REDISTRIBUTE_ROUTE_ADD
REDISTRIBUTE_ROUTE_DEL VRF_UNREGISTER VRF_ADD VRF_DELETE VRF_LABEL INTERFACE_VRF_UPDATE BFD_CLIENT_REGISTER
BFD_CLIENT_DEREGISTER INTERFACE_ENABLE_RADV INTERFACE_DISABLE_RADV NEXTHOP_LOOKUP_MRIB INTERFACE_LINK_PARAMS
MPLS_LABELS_ADD MPLS_LABELS_DELETE MPLS_LABELS_REPLACE IPMR_ROUTE_STATS LABEL_MANAGER_CONNECT
LABEL_MANAGER_CONNECT_ASYNC GET_LABEL_CHUNK RELEASE_LABEL_CHUNK FEC_REGISTER FEC_UNREGISTER FEC_UPDATE
ADVERTISE_DEFAULT_GW ADVERTISE_SVI_MACIP ADVERTISE_SUBNET ADVERTISE_ALL_VNI LOCAL_ES_ADD LOCAL_ES_DEL VNI_ADD VNI_DEL
L3VNI_ADD L3VNI_DEL REMOTE_VTEP_ADD REMOTE_VTEP_DEL MACIP_ADD MACIP_DEL IP_PREFIX_ROUTE_ADD IP_PREFIX_ROUTE_DEL
REMOTE_MACIP_ADD REMOTE_MACIP_DEL DUPLICATE_ADDR_DETECTION PW_ADD PW_DELETE PW_SET PW_UNSET PW_STATUS_UPDATE RULE_ADD
RULE_DELETE RULE_NOTIFY_OWNER TABLE_MANAGER_CONNECT GET_TABLE_CHUNK RELEASE_TABLE_CHUNK IPSET_CREATE IPSET_DESTROY
IPSET_ENTRY_ADD IPSET_ENTRY_DELETE IPSET_NOTIFY_OWNER IPSET_ENTRY_NOTIFY_OWNER IPTABLE_ADD IPTABLE_DELETE
IPTABLE_NOTIFY_OWNER VXLAN_FLOOD_CONTROL VXLAN_SG_ADD VXLAN_SG_DEL VXLAN_SG_REPLAY MLAG_PROCESS_UP MLAG_PROCESS_DOWN
MLAG_CLIENT_REGISTER MLAG_CLIENT_UNREGISTER MLAG_FORWARD_MSG ERROR CLIENT_CAPABILITIES OPAQUE_MESSAGE OPAQUE_REGISTER
OPAQUE_UNREGISTER NEIGH_DISCOVER`

// TestDocumentedCommands: every row of the document's table has its command here, and no other has a number in it.
func TestDocumentedCommands(t *testing.T) {
	names := strings.Fields(documented)
	if len(names) != 111 {
		t.Fatalf("%d names", len(names))
	}
	have := commandsByNumber[column("document")]
	if len(have) != len(names) {
		t.Errorf("%d numbers", len(have))
	}
	for n, name := range names {
		if c, ok := have[uint16(n)]; !ok || c.String() != name {
			t.Errorf("%d is %v, not %s", n, c, name)
		}
	}
}

// TestCommandNumbers holds the table to what is known of single releases: how far they agree with the document, the
// commands that matter most, and that no number stands for two.
func TestCommandNumbers(t *testing.T) {
	names := strings.Fields(documented)
	for version, agree := range map[string]int{"7.3": 105, "7.4": 106, "8.4": 40, "9.1": 26, "10.0": 21, "10.2": 7, "10.7": 7} {
		rel, err := findRelease(version)
		must(t, err)
		same := 0
		for n, name := range names {
			if c, ok := rel.command(uint16(n)); ok && c.String() == name {
				same++
			}
		}
		if same != agree {
			t.Errorf("%s agrees with the document in %d rows, not %d", version, same, agree)
		}
	}
	// HELLO, ROUTE_ADD, ROUTE_NOTIFY_OWNER, REDISTRIBUTE_ROUTE_ADD, NHG_ADD, CLIENT_CAPABILITIES, ERROR
	for version, numbers := range map[string][7]int{
		"6.0": {17, 7, 9, 33, no, no, no}, "6.0.3": {17, 7, 9, 33, no, no, no}, "7.1": {17, 7, 9, 32, no, no, no},
		"7.2": {18, 8, 10, 33, no, no, no}, "7.3": {18, 8, 10, 33, no, no, 105}, "7.4": {18, 8, 10, 33, no, 106, 105},
		"7.5": {18, 8, 10, 33, no, 113, 112}, "8.0": {18, 8, 10, 33, 112, 118, 117}, "8.1": {18, 8, 10, 33, 112, 122, 121},
		"8.2": {18, 8, 10, 30, 109, 119, 118}, "9.0": {18, 8, 10, 30, 109, 119, 118}, "9.1": {18, 8, 10, 30, 108, 118, 117},
		"10.1": {19, 9, 11, 31, 109, 119, 118}, "10.3": {19, 9, 11, 31, 108, 121, 120}, "10.7": {19, 9, 11, 31, 108, 121, 120},
	} {
		rel, err := findRelease(version)
		must(t, err)
		for i, c := range []command{cmdHello, cmdRouteAdd, cmdRouteNotifyOwner, cmdRedistributeRouteAdd, cmdNHGAdd, cmdClientCapabilities, cmdError} {
			n, ok := rel.number(c)
			if ok != (numbers[i] >= 0) || ok && int(n) != numbers[i] {
				t.Errorf("%s: %v is %d, %v; want %d", version, c, n, ok, numbers[i])
			}
		}
	}
	for col, name := range commandColumns {
		seen := map[int16]string{}
		for _, row := range commandTable {
			if n := row.numbers[col]; n >= 0 {
				if seen[n] != "" {
					t.Errorf("%s: %d is %s and %s", name, n, seen[n], row.name)
				}
				seen[n] = row.name
			}
		}
	}
}

func TestRouteTypes(t *testing.T) {
	for version, want := range map[string]map[string]uint8{
		"6.0":  {"kernel": 1, "connected": 2, "static": 3, "isis": 8, "babel": 22, "sharp": 23, "bfd": 25, "all": 26, "max": 27},
		"7.0":  {"static": 3, "sharp": 23, "openfabric": 26, "all": 27, "max": 28},
		"7.2":  {"openfabric": 26, "vrrp": 27, "all": 28, "max": 29},
		"7.4":  {"openfabric": 26, "nhg": 28, "all": 29, "max": 30},
		"8.4":  {"static": 3, "ospf6": 7, "openfabric": 26, "srte": 29, "all": 30, "max": 31},
		"10.3": {"local": 3, "static": 4, "bgp": 10, "table": 16, "babel": 23, "openfabric": 27, "srte": 30, "all": 32, "max": 33},
	} {
		rel, err := findRelease(version)
		must(t, err)
		for name, number := range want {
			if n, ok := rel.routeType(name); !ok || n != number || rel.typeName(n) != name {
				t.Errorf("%s: %s is %d, %v; want %d", version, name, n, ok, number)
			}
		}
	}
	rel, _ := findRelease("8.4")
	if first, n := rel.groupRange(26); first != 209677416 || n != 8064516 {
		t.Errorf("groups from %d, %d of them", first, n)
	}
	rel, _ = findRelease("10.3")
	if first, n := rel.groupRange(27); first != 27*7575757 || n != 7575757 {
		t.Errorf("groups from %d, %d of them", first, n)
	}
}

func TestFindRelease(t *testing.T) {
	for version, want := range map[string]string{
		"6.0": "6.0", "6.0.2": "6.0.1", "7.1.9": "7.1", "7.5.1-1.1+deb11u4": "7.5", "8.2": "8.2", "8.2.1": "8.2", "8.2.2": "8.2.2",
		"8.4.4": "8.4", "8.4.4-1.1~deb12u2": "8.4", "9.0.5": "9.0", "10.0": "10.0", "10.3": "10.3", "10.5.2": "10.4", "10.7.0": "10.6",
	} {
		if rel, err := findRelease(version); err != nil || rel.name != want {
			t.Errorf("%s: %v, %v; want %s", version, rel, err, want)
		}
	}
	for version, want := range map[string]string{
		"10.8": "not known; known are 6.0, 7.0, 7.1, 7.2, 7.3, 7.4, 7.5, 8.0, 8.1, 8.2, 8.3, 8.4, 8.5, 9.0, 9.1, 10.0, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 10.7",
		"6.1":  "not known", "7.6": "not known", "9.2": "not known", "1.0": "not known",
		"5.0.1": "speaks ZAPI version 5, of which only headers and command numbers are known", "2.0": "version 4",
		"8": "write it as 8.4", "": "write it", "frr8.4": "write it", "8.-4": "write it",
	} {
		if rel, err := findRelease(version); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %s", version, rel, err, want)
		}
	}
}

// TestProbing lets each release answer as it would, and shows what comes of that.
func TestProbing(t *testing.T) {
	for _, rel := range layouts() {
		e := evidence{errors: -1, caps: -1, known: map[command]bool{}, link: rel.appendLink(nil, link{name: "lo", index: 1})}
		if n, ok := rel.number(cmdError); ok {
			e.errors = int(n)
		}
		caps, _ := rel.number(cmdCapabilities)
		answers := e
		answers.caps, answers.capsLen = int(caps), rel.capabilitiesLength()
		for e.errors >= 0 {
			c, _, ok := ask(answers.candidates())
			if !ok {
				break
			}
			_, answers.known[c] = rel.number(c)
		}
		c := answers.candidates()
		if !slices.Contains(c, rel) {
			t.Errorf("%s is not among %v", rel, c)
		}
		got, err := settle(c, answers, false)
		s := fmt.Sprint(got)
		if err != nil {
			s = err.Error()
		}
		want := rel.String()
		switch rel.name {
		case "6.0":
			want = "6.0.1" // the same in all that matters
		case "8.2", "8.2.2":
			want = "8.2 or 8.2.2, which differ" // until NEXTHOP_UPDATE is seen
		case "8.3":
			want = "8.4"
		case "8.5":
			want = "9.0"
		case "10.0", "10.1":
			want = "10.0 or 10.1, which differ in the messages that are needed and cannot be told apart"
		case "10.2", "10.3", "10.4":
			want = "10.2 or 10.3 or 10.4 to 10.5, which differ" // until NEXTHOP_UPDATE is seen
		}
		if !strings.Contains(s, want) || err == nil && s != want {
			t.Errorf("%s is found to be %s, want %s", rel, s, want)
		}
	}
	if _, err := settle(nil, evidence{errors: 99, caps: 3}, false); err == nil || !strings.Contains(err.Error(), "set the release by configuration") {
		t.Error(err)
	}
}

// TestProbingForATable: with a table of our own, releases are told apart by what they want with it.
func TestProbingForATable(t *testing.T) {
	a, _ := findRelease("10.3")
	b, _ := findRelease("10.5")
	if rel, err := settle([]*release{a, b}, evidence{}, false); err != nil || rel != b {
		t.Errorf("%v, %v", rel, err)
	}
	if rel, err := settle([]*release{a, b}, evidence{}, true); err == nil {
		t.Errorf("%v", rel)
	}
}
