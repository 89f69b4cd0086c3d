package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/cacherepo"
	"github.com/etcdimg/etcdimg/pkg/registry"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// Environment variables with the repository behind the cache, and with what may
// be done with it.
const (
	cacheRepoVariable     = "ETCDIMG_CACHE_REPO"
	cacheRepoModeVariable = "ETCDIMG_CACHE_REPO_MODE"
)

// What may be done with the repository behind the cache.
const (
	cacheReadWrite = "readwrite"
	cacheRead      = "read"
)

// cacheRepoFlags say which repository is behind the cache.
type cacheRepoFlags struct {
	repo, mode, key, pub string
}

func (f *cacheRepoFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.repo, "cache-repo", "", "repository that shares binaries, layers and SBOMs with other machines (default $"+cacheRepoVariable+")")
	cmd.Flags().StringVar(&f.mode, "cache-repo-mode", "", "what is done with it: readwrite, or read, which is for pull requests (default $"+cacheRepoModeVariable+", else readwrite)")
	cmd.Flags().StringVar(&f.key, "cache-repo-key", "", "file with the private key that signs what is written to it; nothing counts then that this key has not signed")
	cmd.Flags().StringVar(&f.pub, "cache-repo-pub", "", "file with the public key that must have signed what is read from it")
}

// open puts the repository behind a cache. Without one it is the cache alone,
// and the second result nil.
func (f *cacheRepoFlags) open(cmd *cobra.Command, c *cache.Cache, offline bool, client func() (*registry.Client, error), log io.Writer) (build.Store, *cacherepo.Store, error) {
	mode := cmp.Or(f.mode, os.Getenv(cacheRepoModeVariable), cacheReadWrite)
	if !slices.Contains([]string{cacheRead, cacheReadWrite}, mode) {
		return nil, nil, usagef(cmd, "--cache-repo-mode %q: want %s or %s", mode, cacheRead, cacheReadWrite)
	}
	repo := f.repo
	switch {
	case repo != "" && offline:
		return nil, nil, usagef(cmd, "--offline asks no network: leave --cache-repo out")
	case repo == "" && !offline:
		repo = os.Getenv(cacheRepoVariable)
	}
	if repo == "" {
		return c, nil, nil
	}
	reg, err := client()
	if err != nil {
		return nil, nil, err
	}
	o := cacherepo.Options{Kinds: build.SharedKinds(), ReadOnly: mode == cacheRead, Log: newLogger(cmd, log)}
	if o.Repository, err = reg.ParseRepository(repo); err != nil {
		return nil, nil, usagef(cmd, "--cache-repo %s: %w", repo, err)
	}
	if f.key != "" {
		key, err := cacheKey(cmd, f.key)
		if err != nil {
			return nil, nil, fmt.Errorf("--cache-repo-key: %w", err)
		}
		o.Signer, o.Verifier = key, key
	}
	if f.pub != "" {
		pem, err := os.ReadFile(f.pub)
		if err != nil {
			return nil, nil, fmt.Errorf("--cache-repo-pub: %w", err)
		}
		pub, err := sign.LoadPublicKey(f.pub, pem)
		if err != nil {
			return nil, nil, fmt.Errorf("--cache-repo-pub: %w", err)
		}
		o.Verifier = pub
	}
	s := cacherepo.New(cmd.Context(), c, reg, o)
	return s, s, nil
}

// recordKey signs records and knows its own signatures.
type recordKey struct {
	signer *sign.Signer
	public sign.PublicKey
}

func cacheKey(cmd *cobra.Command, file string) (*recordKey, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s, err := sign.LoadKey(pem, func() ([]byte, error) { return password(cmd) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	pub, err := s.PublicKey()
	return &recordKey{s, pub}, err
}

// Sign gives the signature of a record.
func (k *recordKey) Sign(ctx context.Context, record []byte) ([]byte, error) {
	made, err := k.signer.SignBlob(ctx, record)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(string(made.Signature))
}

// Verify tells whether the key has signed a record.
func (k *recordKey) Verify(record, signature []byte) error { return k.public.Verify(record, signature) }

// tellCacheRepo says what became of the repository behind the cache, when all
// of it is written.
func tellCacheRepo(w io.Writer, s *cacherepo.Store) {
	if s == nil {
		return
	}
	n := s.Flush()
	fmt.Fprintf(w, "%s: %d entries found, %d written; %.1f MB received, %.1f MB sent\n",
		s.Repository().Name(), n.Found, n.Written, float64(n.Received)/1e6, float64(n.Sent)/1e6)
}
