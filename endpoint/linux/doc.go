// Package linux is the kernel side of the endpoint directory: it tells a leaf's core (package endpoint) what the Linux kernel
// learns of hosts, carries out what the core decides, and has the kernel of a spine send packets on to where endpoints are.
//
// Owns: netlink sockets (rtnetlink, nftables, NFLOG), a packet socket per access port and one for probes, in the network
// namespace in which it was opened; in the kernel the entries of the domains' bridges and vxlan devices, the neighbours on the
// bridges that are marked as learned elsewhere (NTF_EXT_LEARNED), and the nftables tables openr-bounce and openr-proxy. Reads:
// notifications about interfaces and bridge entries, ARP and neighbour discovery at access ports, packets that a spine drops.
// Writes: those entries and tables, flags of bridge ports, the bridges' ageing time; ARP requests and neighbour
// solicitations, and answers to those of hosts; endpoint.Event, into a queue.
//
// A Kernel serves a leaf, a Proxy a spine. The bridges and vxlan devices are made by somebody else and may come and go; so
// may access ports: whatever becomes a port of a domain's bridge is one.
//
// # Learning
//
// A bridge tells when it learns a MAC address and when that moves to another port, at the first frame. It does not tell that a
// known one is still heard. So the core has each local endpoint programmed as managed (NUD_NOARP with NFEA_ACTIVITY_NOTIFY):
// such an entry still moves with its frames, does not age out, and the kernel tells once when it has been silent for the
// bridge's ageing time and once when it is heard again. What nobody has programmed ages out, which is told as silence too.
// Managed entries survive their port's end of life, so they are deleted here when it loses its carrier.
//
// IP addresses come from ARP and neighbour discovery at each access port. A tap of the bridge would miss what is for one host.
// Who asks for an address is told too (endpoint.Asked); if the answer is found only then, it is sent out of the port that the
// question came in by (endpoint.Reply), past the bridge, because the host would ask again only after a second.
//
// What we program comes back as notifications. A filter in the kernel drops those of remote entries; the first about a local
// entry after it was programmed is not told as activity.
//
// # Remote endpoints
//
// One message puts an entry into the bridge's table (the port) and into the vxlan device's (the tunnel address). It does not
// age. When the endpoint is heard at an access port the bridge's entry moves there, and the vxlan device's stays behind until
// it is deleted, which is done when the endpoint is programmed as local. Pinned entries are sticky: no frame moves them, and no
// notification is made however often somebody tries.
//
// The vxlan device's entry remembers when something was last sent by it. The core asks for that when an endpoint reaches its age
// (endpoint.AskUsed), and keeps what is in use.
//
// # Relays
//
// A spine (and a leaf, for endpoints that have moved away) rewrites the outer destination by the inner destination MAC address,
// in nftables, without state. The outer source stays, so that the receiver learns and answers the right leaf. Doing this with
// a bridge whose vxlan port sends back where things come from (hairpin) changes the source, gives each packet a new TTL and, on
// two leaves that disagree, makes 350,000 packets a second out of one. A bounced packet is marked (BouncedDSCP) and never
// bounced again.
//
// Relays need forwarding enabled, and no strict reverse path filter on the way; New warns.
//
// # When something gets lost
//
// Notifications that did not fit into the socket's buffer (a loop makes 27,000 a second; 32 MiB hold more than a second of
// them) are made up for by reading the access ports: what is new, elsewhere, silent or gone is told. Such a dump passes over
// remote entries, so it takes milliseconds where a dump of everything takes seconds.
//
// Remote entries go with the vxlan device and when it leaves the bridge or is down, and the neighbours when the bridge gets another
// MAC address or is down. Then everything of the domain is to be programmed again (endpoint.Wiped), as soon as that can be.
//
// A Kernel that is opened again tells the local endpoints that it finds, those that are pinned as such, and deletes nothing.
// Remote endpoints and bounces stay in force until the directory is in sync again; Found lists them so that what it no longer
// knows can be removed.
package linux
