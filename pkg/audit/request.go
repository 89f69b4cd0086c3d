package audit

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/audit/osv"
	"github.com/etcdimg/etcdimg/pkg/audit/vex"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/policy"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// Request says what to audit, against what.
type Request struct {
	Tool      string // and its version: etcdimg v1.2.3
	Reference string // as it was asked for
	Source    inspect.Source
	Root      v1.Descriptor // of the index or image
	Cache     *cache.Cache

	// Databases are sources of vulnerabilities. Together they must know every
	// ecosystem that the image has packages of, unless Partial lets what they
	// do not know be told as not judged. None is for no look-up at all.
	Databases []*osv.Database
	Partial   bool
	// Statements are VEX documents that count before all others.
	Statements []Given

	Policy     *policy.Policy // nil for none
	PolicyFile string         // its name
	// Checked is what was found about signatures; nil where nobody's key was
	// given. Then only what somebody who counts attests is believed of SBOMs
	// and VEX.
	Checked []sign.Checked
	Now     time.Time // what ages are counted from

	// Since is an image from before; nil for none.
	Since *Request

	Scan bool // look at the files even where there is an SBOM
}

// Given is a document that whoever asks gives.
type Given struct {
	Name     string // of the file
	Document *vex.Document
}
