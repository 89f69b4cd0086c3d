package etcd

// Stage is a step on the way to binaries.
type Stage string

// The stages, in the order in which they come. Not every one does.
const (
	Resolving   Stage = "resolving"   // the go command completes a wrapper module
	Waiting     Stage = "waiting"     // another process compiles the same
	Downloading Stage = "downloading" // Detail: the module and its version, or the toolchain
	Compiling   Stage = "compiling"   // first with no Detail, as the compiler starts; then Detail: the package just begun
	Compiled    Stage = "compiled"    // binaries are in the store
	Unpacking   Stage = "unpacking"   // programs are taken out of an official release
	Unpacked    Stage = "unpacked"    // they are in the store
	Reused      Stage = "reused"      // binaries were in the store
)

// Event tells about progress. Events of different architectures come at the
// same time, from different goroutines.
type Event struct {
	Program string // the Program it is about; "" for etcd
	Version string // of etcd
	Arch    string // GOARCH; "" for what serves all of them
	Stage   Stage
	Detail  string
}
