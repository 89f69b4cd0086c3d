package image

import "regexp"

// Name is what an image is called in a layout or an archive.
type Name struct {
	Repository string   // etcd; used by archives only
	Tags       []string // 3.6.16-0; the first is the principal one
}

var tagForm = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// ValidTag says whether s is a tag (OCI distribution-spec, Pulling manifests).
func ValidTag(s string) bool { return tagForm.MatchString(s) }
