package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
)

func (k *kvCommands) setKey() *cobra.Command {
	var (
		originator string
		version    int64
		ttl        = ttlSeconds(lsdb.TTLInfinite)
	)
	cmd := &cobra.Command{
		Use:   "set-key KEY VALUE",
		Short: "Write a key into the store",
		Args:  cobra.ExactArgs(2),
	}
	f := cmd.Flags()
	f.StringVar(&originator, "originator", "breeze", "who is to be the author")
	f.Int64Var(&version, "version", 0, "version; default: one more than there is")
	f.Var(&ttl, "ttl", "seconds for which the key lives")
	cmd.RunE = k.run(func(s *session, args []string) error {
		key, data := args[0], []byte(args[1])
		if cmd.Flags().Changed("version") && version < 1 {
			return usagef("--version %d: versions begin with 1", version)
		}
		area, err := s.oneArea(k.area)
		if err != nil {
			return err
		}
		if version == 0 {
			there, err := s.GetKvStoreKeyValsArea(s.ctx, []string{key}, area)
			if err != nil {
				return err
			}
			version = 1
			if v := there.KeyVals[key]; v != nil {
				version = v.Version + 1
			}
		}
		err = s.setKey(area, key, &kvstore.Value{Version: version, OriginatorId: originator, Value: data, TTL: int64(ttl), TtlVersion: 1})
		if err != nil {
			return err
		}
		return k.done("Success: Set key %s with version %d, originator %s, ttl %s in area %s.", key, version, originator, ttlText(int64(ttl)), area)
	})
	return cmd
}

// setKey writes a value. It is an error if the store does not take it.
func (s *session) setKey(area, key string, v *kvstore.Value) error {
	params := &kvstore.KeySetParams{KeyVals: kvstore.KeyVals{key: v}}
	result, err := s.SetKvStoreKeyValues(s.ctx, params, area)
	if unknownMethod(err) { // agents of before 2023 have only the method that says nothing
		return s.SetKvStoreKeyVals(s.ctx, params, area)
	}
	if err != nil {
		return err
	}
	if reason, refused := result.NoMergeReasons[key]; refused {
		return fmt.Errorf("the store in area %s did not take key %s: %s", area, key, reason)
	}
	return nil
}

// ttlSeconds is a flag that takes seconds and holds the milliseconds that stand in a value.
type ttlSeconds int64

func (t *ttlSeconds) String() string {
	if int64(*t) == lsdb.TTLInfinite {
		return "infinite"
	}
	return strconv.FormatFloat(float64(*t)/1000, 'f', -1, 64)
}

func (t *ttlSeconds) Type() string { return "seconds" }

func (t *ttlSeconds) Set(text string) error {
	if text == "infinite" {
		*t = ttlSeconds(lsdb.TTLInfinite)
		return nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	const most = 100 * 365 * 24 * time.Hour
	if err != nil || !(seconds > 0) || seconds > most.Seconds() {
		return fmt.Errorf("want seconds, more than 0, or infinite")
	}
	*t = ttlSeconds(seconds * 1000)
	return nil
}

// eraseTTL is for how long a key that is to be erased still lives. Stores pass on only what lives for another 500 ms (Open/R
// Constants::kTtlThreshold), so it has to be longer than that by the time that flooding takes; with the 256 ms of Open/R's breeze
// the key vanishes from one store only.
const eraseTTL = 3 * time.Second

func (k *kvCommands) eraseKey() *cobra.Command {
	return &cobra.Command{
		Use:   "erase-key KEY",
		Short: "Make a key expire in the stores of all nodes",
		Args:  cobra.ExactArgs(1),
		RunE: k.run(func(s *session, args []string) error {
			key := args[0]
			areas, err := k.areas(s)
			if err != nil {
				return err
			}
			var found []string
			for _, area := range areas {
				there, err := s.GetKvStoreKeyValsArea(s.ctx, args, area)
				if err != nil {
					return err
				}
				v := there.KeyVals[key]
				if v == nil {
					continue
				}
				found = append(found, area)
				err = s.setKey(area, key, &kvstore.Value{
					Version: v.Version, OriginatorId: v.OriginatorId, Hash: v.Hash, TTL: eraseTTL.Milliseconds(), TtlVersion: v.TtlVersion + 1,
				})
				if err != nil {
					return err
				}
			}
			if len(found) == 0 {
				return fmt.Errorf("key %s is not in the store", key)
			}
			return k.done("Success: key %s will be erased from all stores of area %s within %s.", key, strings.Join(found, ", "), eraseTTL)
		}),
	}
}

func (k *kvCommands) signature() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "kv-signature",
		Short: "A checksum of the store of an area: nodes that agree have the same",
		Args:  cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			area, err := s.oneArea(k.area)
			if err != nil {
				return err
			}
			filter := keysOf()
			if prefix != "" {
				filter = keysOf(prefix)
			}
			p, err := s.GetKvStoreHashFilteredArea(s.ctx, filter, area)
			if err != nil {
				return err
			}
			sum := sha256.New()
			for _, key := range slices.Sorted(maps.Keys(p.KeyVals)) {
				fmt.Fprint(sum, p.KeyVals[key].GetHash())
			}
			text := hex.EncodeToString(sum.Sum(nil))
			if k.json {
				return k.printJSON(map[string]any{"area": area, "keys": len(p.KeyVals), "sha256": text})
			}
			k.printf("sha256: %s\n", text)
			return nil
		}),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that begin so")
	return cmd
}
