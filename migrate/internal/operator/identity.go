package operator

import (
	"crypto/sha1"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
)

// defaultToken is etcd's default of --initial-cluster-token.
const defaultToken = "etcd-cluster"

// identity is the name and the peer URLs of the only member.
func (o *Operator) identity(s *datadir.State) (name string, peers []string) {
	name, peers = o.Name, o.PeerURLs
	if len(s.Members) == 1 {
		if s.Members[0].Name != "" {
			name = s.Members[0].Name
		}
		if len(s.Members[0].PeerURLs) > 0 {
			peers = s.Members[0].PeerURLs
		}
	}
	return name, peers
}

// oldToken is the token by which a restore gives the only member of a cluster,
// and the cluster, the IDs that they have: etcd computes both from the peer URLs
// and the token that a cluster is made with. It is not known where the URLs have
// changed since or the token was another than the default or the one among the
// server's flags; then the IDs have to be new ones.
func (o *Operator) oldToken(s *datadir.State) (token string, known bool) {
	// Before there is a database only the flags tell the URLs.
	if len(s.Members) != 1 && s.HasDB || s.Log == nil || len(s.Log.Voters) != 1 {
		return "", false
	}
	_, peers := o.identity(s)
	for _, token := range append(flagValues(o.ExtraArgs, "initial-cluster-token"), defaultToken) {
		member := memberID(peers, token)
		if member == s.Log.NodeID && clusterID(member) == s.Log.ClusterID {
			return token, true
		}
	}
	return "", false
}

// memberID is the ID that every line computes for a first member (NewMember in
// etcd's membership package).
func memberID(peers []string, token string) uint64 {
	sum := sha1.Sum([]byte(strings.Join(slices.Sorted(slices.Values(peers)), "") + token))
	return binary.BigEndian.Uint64(sum[:8])
}

// clusterID is the one of a cluster of one.
func clusterID(member uint64) uint64 {
	sum := sha1.Sum(binary.BigEndian.AppendUint64(nil, member))
	return binary.BigEndian.Uint64(sum[:8])
}

// flagValues are the values of a flag among arguments, written in either way.
func flagValues(args []string, name string) (all []string) {
	for i, a := range args {
		flag, value, ok := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case !strings.HasPrefix(a, "-") || flag != name:
		case ok:
			all = append(all, value)
		case i+1 < len(args):
			all = append(all, args[i+1])
		}
	}
	return all
}
