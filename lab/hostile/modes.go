package hostile

import (
	"context"
	"fmt"
)

// Mode is one way to misbehave.
type Mode struct {
	Name string
	What string // a line for users

	run func(*Neighbour, context.Context) error
}

// Modes lists all of them.
func Modes() []Mode {
	return []Mode{
		{"wrong-area", "handshakes that name another area than the victim's", (*Neighbour).wrongArea},
		{"old-sequence", "hellos and heartbeats over again, and with lower sequence numbers", (*Neighbour).oldSequence},
		{"own-name", "packets in the victim's own name", (*Neighbour).ownName},
		{"others-name", "an adjacency in the name of another node", (*Neighbour).othersName},
		{"huge-list", "hellos with as many neighbours as fit, and with billions that are not there", (*Neighbour).hugeList},
		{"many-names", "hellos of thousands of invented nodes from hundreds of addresses", (*Neighbour).manyNames},
		{"oversized", "packets beyond the longest that is allowed", (*Neighbour).oversized},
		{"truncated", "every beginning of a packet, and noise", (*Neighbour).truncated},
		{"wrong-hops", "packets with a hop limit below 255, as from afar", (*Neighbour).wrongHops},
		{"old-version", "hellos of a version below the lowest", (*Neighbour).oldVersion},
		{"bad-handshake", "handshakes with times, ports and addresses that cannot be", (*Neighbour).badHandshake},
		{"packet-flood", "as many packets as the link takes for four seconds, from many addresses", (*Neighbour).packetFlood},

		{"million-keys", "a million keys of one originator", (*Neighbour).millionKeys},
		{"million-originators", "a million keys, each of another originator", (*Neighbour).millionOriginators},
		{"million-answer", "the answer to a full synchronization has half a million keys", (*Neighbour).millionAnswer},
		{"ttl-storm", "keys that live for a millisecond, and refreshes that make keys do so", (*Neighbour).ttlStorm},
		{"ping-pong", "two originators fight over a key thousands of times", (*Neighbour).pingPong},
		{"last-version", "versions and TTL versions so high that nobody could follow", (*Neighbour).lastVersion},
		{"others-keys", "adjacencies and prefixes in the name of other nodes, with later versions", (*Neighbour).othersKeys},
		{"garbage-values", "adjacencies and prefixes that do not decode", (*Neighbour).garbageValues},
		{"big-values", "values of 16 MB", (*Neighbour).bigValues},

		{"half-open", "connections that are opened, half or whole, and then silent; lasts until the victim ends it", (*Neighbour).halfOpen},
		{"many-connections", "thousands of connections", (*Neighbour).manyConnections},
		{"slow-sender", "requests that come byte by byte, likewise", (*Neighbour).slowSender},
		{"never-reads", "dumps and streams whose answers are not read, likewise", (*Neighbour).neverReads},
		{"mute-store", "a store that takes the victim's requests and answers none", (*Neighbour).muteStore},
		{"raving-store", "a store that answers noise, and lengths that are not true", (*Neighbour).ravingStore},
	}
}

// Do misbehaves in the way that the mode's name says, and returns when that is over.
func (n *Neighbour) Do(ctx context.Context, name string) error {
	for _, m := range Modes() {
		if m.Name == name {
			if err := m.run(n, ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("no misbehaviour is called %q", name)
}
