package decision

import (
	"testing"

	"openr/lsdb"
	"openr/msg"
)

// FuzzPublication: whatever stands in the store, decision goes on, and what the nodes really say is told from it.
func FuzzPublication(f *testing.F) {
	n := network{}
	n.link("A", "1", "2", 0, 10, 10)
	n.link("A", "2", "3", 0, 10, 10)
	for k, v := range n.publication().KeyVals {
		f.Add(k.Key, v.Data, false)
		f.Add(k.Key, v.Data[:len(v.Data)/2], true)
	}
	db := lsdb.PrefixDatabase{Node: "2", Entry: lsdb.PrefixEntry{Prefix: prefix(p2), AreaStack: []string{"B"}, Tags: []string{"t"}, MinNexthop: 1}}
	f.Add(lsdb.PrefixKey("2", prefix(p2)), db.Marshal(), false)
	db.Delete = true
	f.Add(lsdb.PrefixKey("2", prefix(p2)), db.Marshal(), true)
	f.Add("adj:", []byte{}, true)
	f.Add("prefix:1:[::/0]", []byte{0}, true)
	f.Fuzz(func(t *testing.T, key string, data []byte, expire bool) {
		b := newBench(t)
		b.network = n
		b.publish()
		b.advertise("A", "3", p3)
		b.build(epoch)
		if data == nil {
			data = []byte{}
		}
		pub := newPublication()
		pub.KeyVals[msg.AreaKey{Area: "A", Key: key}] = value(data)
		b.apply(pub, epoch)
		b.build(epoch)
		if expire {
			pub := newPublication()
			pub.Expired[msg.AreaKey{Area: "A", Key: key}] = true
			b.apply(pub, epoch)
			b.build(epoch)
		}
		for node := range b.areas["A"].nodes() {
			b.routes(node)
		}
		b.received(nil, "", "")
		b.areas["A"].adjacencyCounts()
		for range 2 {
			b.publish() // what the nodes really say
			b.advertise("A", "3", p3)
			b.build(epoch)
		}
		b.publish()
		b.advertise("A", "3", p3)
		if b.pending.any() {
			t.Fatal("the same content again is taken for a change")
		}
	})
}
