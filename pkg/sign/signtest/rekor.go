// Package signtest gives tests a transparency log inside their process, which
// speaks Rekor's API of version 1 as far as signing does. The real one wants two
// databases beside it.
//
// It must not know who writes to the log.
package signtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Rekor is a log on the loopback interface. Each of its entries is alone in a
// tree of its own, which makes the proof that it is there as short as can be.
type Rekor struct {
	URL    string
	Public []byte // its key, PEM

	t     *testing.T
	key   *ecdsa.PrivateKey
	logID string

	mu    sync.Mutex
	kinds []string
}

// NewRekor starts a log that ends with the test.
func NewRekor(t *testing.T) *Rekor {
	t.Helper()
	r := &Rekor{t: t}
	var err error
	if r.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(r.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(der)
	r.logID = hex.EncodeToString(id[:])
	r.Public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/log/entries", r.create)
	mux.HandleFunc("GET /api/v1/log/publicKey", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(r.Public)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Kinds are those of the entries that were made, in their order.
func (r *Rekor) Kinds() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.kinds...)
}

func (r *Rekor) create(w http.ResponseWriter, req *http.Request) {
	uuid, answer, err := r.entry(req)
	if err != nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": http.StatusBadRequest, "message": err.Error()})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", uuid)
	w.Header().Set("Location", "/api/v1/log/entries/"+uuid)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{uuid: answer})
}

// entry holds what is proposed against itself, as a log does, and answers with
// the promise to keep it (SignedEntryTimestamp) and the proof that it is there.
func (r *Rekor) entry(req *http.Request) (string, any, error) {
	proposed, err := models.UnmarshalProposedEntry(http.MaxBytesReader(nil, req.Body, 64<<20), consumer{})
	if err != nil {
		return "", nil, err
	}
	e, err := types.CreateVersionedEntry(proposed)
	if err != nil {
		return "", nil, err
	}
	body, err := types.CanonicalizeEntry(req.Context(), e)
	if err != nil {
		return "", nil, err
	}
	r.mu.Lock()
	index := len(r.kinds)
	r.kinds = append(r.kinds, proposed.Kind())
	r.mu.Unlock()
	leaf := leafHash(body)
	signer, err := signature.LoadECDSASignerVerifier(r.key, crypto.SHA256)
	if err != nil {
		return "", nil, err
	}
	checkpoint, err := util.CreateAndSignCheckpoint(req.Context(), "rekor.test", 1, 1, leaf, signer)
	if err != nil {
		return "", nil, err
	}
	answer := map[string]any{
		"body": base64.StdEncoding.EncodeToString(body), "integratedTime": time.Now().Unix(), "logID": r.logID, "logIndex": index,
	}
	promised, err := json.Marshal(answer) // its keys are sorted, as RFC 8785 wants them
	if err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(promised)
	set, err := ecdsa.SignASN1(rand.Reader, r.key, sum[:])
	if err != nil {
		return "", nil, err
	}
	answer["verification"] = map[string]any{
		"signedEntryTimestamp": set,
		"inclusionProof": map[string]any{
			"checkpoint": string(checkpoint), "hashes": []string{}, "logIndex": 0, "treeSize": 1, "rootHash": hex.EncodeToString(leaf),
		},
	}
	return hex.EncodeToString(leaf), answer, nil
}

// consumer reads JSON as the generated models want it.
type consumer struct{}

func (consumer) Consume(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	d.UseNumber()
	return d.Decode(into)
}

// leafHash is an entry's in the tree (RFC 6962, section 2.1).
func leafHash(body []byte) []byte {
	sum := sha256.Sum256(append([]byte{0}, body...))
	return sum[:]
}
