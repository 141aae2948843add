package endpoint

// Counters.
const (
	counterLocal         = "endpoint.num_local"          // gauge: endpoints behind ports of this leaf, rogue ones too
	counterRemote        = "endpoint.num_remote"         // gauge: endpoints behind other leaves, bounce entries too
	counterBounce        = "endpoint.num_bounce"         // gauge: endpoints that moved away and are followed
	counterRogueMACs     = "endpoint.num_rogue_macs"     // gauge: rogue endpoints
	counterRogueIPs      = "endpoint.num_rogue_ips"      // gauge: rogue addresses of endpoints that are not rogue themselves
	counterFaults        = "endpoint.num_faults"         // gauge: faults that stand
	counterLearningOff   = "endpoint.num_learning_off"   // gauge: domains that do not learn
	counterPortsDisabled = "endpoint.num_ports_disabled" // gauge: ports shut by loop protection

	counterAttach     = "endpoint.attach"                 // count: endpoints that appeared behind a port of this leaf
	counterDetach     = "endpoint.detach"                 // count: endpoints that are gone
	counterMoves      = "endpoint.moves"                  // count: moves of MACs, whichever places they were between
	counterIPMoves    = "endpoint.ip_moves"               // count: addresses that changed their MAC
	counterBounces    = "endpoint.bounces"                // count: bounce entries made
	counterProbes     = "endpoint.probes"                 // count: ARP and ND probes sent
	counterAged       = "endpoint.aged"                   // count: endpoints that aged out
	counterIPsAged    = "endpoint.ips_aged"               // count: addresses that aged out alone
	counterPublished  = "endpoint.published"              // count: records published
	counterWithdrawn  = "endpoint.withdrawn"              // count: records withdrawn
	counterRogue      = "endpoint.rogue"                  // count: endpoints declared rogue
	counterRogueIP    = "endpoint.rogue_ip"               // count: addresses declared rogue
	counterSuppressed = "endpoint.suppressed"             // count: moves of what is pinned, which did not take place
	counterLoops      = "endpoint.loops"                  // count: loops found by loop protection
	counterDampened   = "endpoint.dampened"               // count: times that move dampening stopped a domain's learning
	counterRepairs    = "endpoint.repairs"                // count: entries programmed again because the kernel had lost them
	counterWiped      = "endpoint.wiped"                  // count: times that all remote entries of a domain were programmed again, as its devices had lost them
	counterAdopted    = "endpoint.rogue_adopted"          // count: rogue endpoints of an earlier run that stay pinned
	counterQuestions  = "endpoint.questions"              // count: questions of local hosts for addresses that were then looked up in the directory
	counterReplies    = "endpoint.replies"                // count: answers given to them
	counterFaultsSeen = "endpoint.faults"                 // count: faults raised
	counterRefused    = "endpoint.refused."               // count, by cause: what the data plane or the directory said and was not believed
	refusedDomain     = counterRefused + "unknown_domain" // the domain is not configured
	refusedMAC        = counterRefused + "bad_mac"        // not the address of a host
	refusedIP         = counterRefused + "bad_ip"         // not the address of a host
	refusedPort       = counterRefused + "bad_port"       // no name, a name too long, or a VLAN above 4094
	refusedTEP        = counterRefused + "bad_tep"        // not a tunnel address of another leaf
	refusedRecord     = counterRefused + "bad_record"     // see Record.Validate
	refusedOlder      = counterRefused + "older"          // the table has a newer record
	refusedFull       = counterRefused + "table_full"     // max_local_endpoints or max_remote_endpoints
	refusedIPsFull    = counterRefused + "too_many_ips"   // max_ips_per_endpoint
	refusedSubnet     = counterRefused + "ip_learning"    // the domain does not learn this address: enforce_subnet_check or ip_learning
	refusedOff        = counterRefused + "learning_off"   // the domain does not learn at the moment
	refusedPortDown   = counterRefused + "port_down"      // the port is down or was shut
	refusedQuestion   = counterRefused + "questions"      // too many questions of hosts wait for an answer, at all ports or at one
	refusedOlderIP    = counterRefused + "older_ip"       // another endpoint has a newer claim to the address
)
