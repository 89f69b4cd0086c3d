package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// passwordVariable names the environment variable with the password of keys,
// as cosign has it.
const passwordVariable = "COSIGN_PASSWORD"

// newKeygenCommand makes a key pair.
func newKeygenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a pair of keys to sign with: PREFIX.key and PREFIX.pub",
		Long: `Make an ECDSA key on P-256 as cosign does: PREFIX.key, encrypted with the password
in $COSIGN_PASSWORD or one that is asked for, and PREFIX.pub for everybody. Files
that are there are not replaced.`,
		Example: "  etcdimg keygen\n  COSIGN_PASSWORD=$(cat secret) etcdimg keygen --output-key-prefix release",
		Args:    cobra.NoArgs,
	}
	prefix := cmd.Flags().String("output-key-prefix", "cosign", "name of the files")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		private, public := *prefix+".key", *prefix+".pub"
		for _, path := range []string{private, public} {
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is there already: move it, or choose another name with --output-key-prefix", path)
			}
		}
		password, err := newPassword(cmd)
		if err != nil {
			return err
		}
		pair, err := sign.GenerateKeys(password)
		if err != nil {
			return err
		}
		if err := writeNew(private, pair.Private, 0o600); err != nil {
			return err
		}
		if err := writeNew(public, pair.Public, 0o644); err != nil {
			return errors.Join(err, os.Remove(private))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", private, public)
		return nil
	}
	return cmd
}

func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// newPassword is a password for a new key, asked for twice.
func newPassword(cmd *cobra.Command) ([]byte, error) {
	if p, ok := os.LookupEnv(passwordVariable); ok {
		return []byte(p), nil
	}
	first, err := askPassword(cmd, "password for the new key: ")
	if err != nil {
		return nil, err
	}
	second, err := askPassword(cmd, "the same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the passwords differ")
	}
	return first, nil
}

// password is the password of a key.
func password(cmd *cobra.Command) ([]byte, error) {
	if p, ok := os.LookupEnv(passwordVariable); ok {
		return []byte(p), nil
	}
	return askPassword(cmd, "password of the key: ")
}

func askPassword(cmd *cobra.Command, prompt string) ([]byte, error) {
	f, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, fmt.Errorf("the key's password is neither in $%s nor is there a terminal to ask for it", passwordVariable)
	}
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	defer fmt.Fprintln(cmd.ErrOrStderr())
	return term.ReadPassword(int(f.Fd()))
}
