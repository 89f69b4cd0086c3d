package config

import (
	"flag"

	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
)

// member adds a URL to a member of --initial-cluster.
func (c *Config) member(name, peerURL string) {
	for i := range c.Cluster {
		if c.Cluster[i].Name == name {
			c.Cluster[i].PeerURLs = append(c.Cluster[i].PeerURLs, peerURL)
			return
		}
	}
	c.Cluster = append(c.Cluster, cluster.Member{Name: name, PeerURLs: []string{peerURL}})
}

// tlsFlags are named as etcd's own are, since they name the same files; the
// client's may also come as etcdctl takes them.
func tlsFlags(f *flag.FlagSet, c *Config, env func(...string) string) {
	for _, x := range []struct {
		into        *string
		name, usage string
		env         []string
	}{
		{&c.ClientTLS.CA, "trusted-ca-file", "who signed the certificates of members' client URLs", []string{"ETCDCTL_CACERT", "ETCD_TRUSTED_CA_FILE"}},
		{&c.ClientTLS.Cert, "cert-file", "certificate to show at client URLs", []string{"ETCDCTL_CERT", "ETCD_CERT_FILE"}},
		{&c.ClientTLS.Key, "key-file", "its key", []string{"ETCDCTL_KEY", "ETCD_KEY_FILE"}},
		{&c.PeerTLS.CA, "peer-trusted-ca-file", "who signed the certificates of members' peer URLs", []string{"ETCD_PEER_TRUSTED_CA_FILE"}},
		{&c.PeerTLS.Cert, "peer-cert-file", "certificate to show at peer URLs", []string{"ETCD_PEER_CERT_FILE"}},
		{&c.PeerTLS.Key, "peer-key-file", "its key", []string{"ETCD_PEER_KEY_FILE"}},
	} {
		f.StringVar(x.into, x.name, env(x.env...), x.usage+" ($"+x.env[len(x.env)-1]+", or from --etcd-server-extra-args)")
	}
}
