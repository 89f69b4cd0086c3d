package main

// What the simulation counts with: megabytes (10^6 bytes) and seconds of one
// core. They were measured with etcd as of November 2026, on two cores of a
// machine that is some years old, but where a comment says otherwise.

// line is an etcd line: sizes of its stripped programs for amd64, and of the
// module archives from which they are compiled.
type line struct {
	version string
	server  float64 // MB of etcd
	clients float64 // MB of etcdctl and etcdutl
	modules float64 // MB to fetch
}

func lines() []line {
	return []line{
		{"2.3", 15.0, 12.3, 3.3},
		{"3.0", 17.6, 15.1, 20.6},
		{"3.1", 18.3, 15.4, 21.2},
		{"3.2", 19.5, 16.1, 24.2},
		{"3.3", 21.0, 16.9, 27.7},
		{"3.4", 22.9, 17.8, 37.0},
		{"3.5", 26.9, 37.9, 42.8},
		{"3.6", 27.2, 35.7, 75.6},
		{"3.7", 24.7, 33.4, 34.3},
	}
}

// kind is what one of the four profiles has beside etcd.
type kind struct {
	name     string
	clients  bool    // etcdctl and etcdutl, too
	older    bool    // all lines before the image's own
	debs     float64 // MB of packages
	base     float64 // MB of all layers that are not etcd's
	ratio    float64 // of etcd's layers, compressed to uncompressed
	entries  int     // of the cache, beside those of etcd's programs and layers
	received float64 // MB that a machine fetches of them: packages that rules look into
	sent     float64 // MB of them, written once
}

func kinds() []kind {
	return []kind{
		{name: "hardened", debs: 0.4, base: 4.2, ratio: 0.37, entries: 11, received: 1.9, sent: 16},
		{name: "dev", clients: true, debs: 34.5, base: 35.4, ratio: 0.37, entries: 88, received: 66, sent: 165},
		{name: "debian-slim", clients: true, debs: 32.8, base: 31.3, ratio: 0.37, entries: 86, received: 65.6, sent: 160},
		{name: "busybox-multi", clients: true, older: true, debs: 1.1, base: 4.0, ratio: 0.24, entries: 13, received: 3, sent: 16},
	}
}

func archs() []string { return []string{"amd64", "arm64", "ppc64le", "s390x"} }

// What the work costs.
const (
	serverCost    = 2.4  // s a MB of etcd: 61 to 65 s for 27.2 MB, the standard library included
	clientCost    = 0.15 // s a MB of the others, which share packages with etcd: 5.5 s for 35.7 MB
	packageCost   = 0.37 // s a MB of packages: to unpack, compress and list them
	compressCost  = 0.032
	listCost      = 0.012 // s a MB of programs: syft
	toolchain     = 73.0  // MB to fetch
	parallel      = 1.7   // cores that a compiler keeps busy of two
	cores         = 2.0
	recordBytes   = 0.02 // MB of an entry without its blobs, manifest included
	requests      = 2.0  // for an entry
	atOnce        = 4.0  // requests
	joinSeconds   = 2.0  // to read four images' statements, and write the index's
	statementSize = 0.5  // MB of an image's statements
)

// What is assumed of the machines, and of the lines between them.
const (
	startSeconds  = 25.0  // until a machine is there, with the checkout and etcdimg
	latency       = 0.03  // s of a request
	ownBandwidth  = 100.0 // MB/s of a machine
	repoBandwidth = 500.0 // MB/s of the registry, for all
)
