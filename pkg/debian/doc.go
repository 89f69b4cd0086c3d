// Package debian takes Debian packages apart so that an image can be made of
// them without apt, dpkg, root or a maintainer script: archive indexes and
// their signatures, resolution of dependencies, download, unpacking, and, told
// as rules, what the scripts would have done.
//
// Its steps, each a value that the next one takes:
//
//   - [Resolver.Resolve]: repositories and package names → [lock.Suite] and
//     [lock.Debian]. Needs the network, or a cache that has what it would say.
//   - [Resolver.Fetch] and [Resolver.Unpack]: [lock.Package] → [Package]. The
//     digest in the lock decides what is right, no matter where it came from.
//   - [Place]: the packages of one image → their files in its tree, without what
//     a slim image leaves out.
//   - [Apply]: the same packages and the tree → the entries that maintainer
//     scripts would have made, and which scripts no rule speaks for.
//
// It must not know of etcd, of profiles, or of layers.
package debian
