package decision

import "strings"

// names gives node names small numbers, ids, by which the rest of this package knows nodes. An id is used again when nobody
// refers to it any more, so that names that come and go leave nothing behind.
type names struct {
	ids  map[string]int32
	list []string // by id
	refs []int32  // by id: adjacency databases, advertisements and routes
	free []int32
}

func newNames() *names { return &names{ids: map[string]int32{}} }

// acquire returns a node's id, which is good until release is called as often as acquire and hold were.
func (n *names) acquire(name string) int32 {
	id, known := n.ids[name]
	if !known {
		name = strings.Clone(name) // it may be a part of something larger
	}
	switch last := len(n.free) - 1; {
	case known:
	case last >= 0:
		id, n.free = n.free[last], n.free[:last]
		n.ids[name], n.list[id] = id, name
	default:
		id = int32(len(n.list))
		n.ids[name] = id
		n.list, n.refs = append(n.list, name), append(n.refs, 0)
	}
	n.refs[id]++
	return id
}

func (n *names) hold(id int32) { n.refs[id]++ }

func (n *names) release(id int32) {
	if n.refs[id]--; n.refs[id] == 0 {
		delete(n.ids, n.list[id])
		n.list[id] = ""
		n.free = append(n.free, id)
	}
}
