package image

// Name is what an image is called in a layout or an archive.
type Name struct {
	Repository string   // etcd; used by archives only
	Tags       []string // 3.6.16-0 (OCI distribution-spec, Pulling manifests); the first is the principal one
}
