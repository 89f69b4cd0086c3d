package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Errors that Downgrade tells apart. Nothing was changed when one is returned.
var (
	ErrTooLow = errors.New("no running cluster can be brought below 3.5")
	ErrNotYet = errors.New("the cluster is not ready for a downgrade")
)

// Client talks to a running cluster: by etcdctl where something is to be done,
// since the JSON gateway refuses clients that show a certificate while users
// are asked for; and by /version.
type Client struct {
	// Ctl runs etcdctl with the arguments, and gives what it printed.
	Ctl func(ctx context.Context, args ...string) ([]byte, error)
	TLS Files
	// Say is told how it goes.
	Say func(line string)

	http *http.Client
}

// Bounds of the waiting. A job that has just ended is refused another for some
// seconds; followers need a few to write their marks.
const (
	callIn   = 5 * time.Second
	retryIn  = 30 * time.Second
	followIn = 2 * time.Minute
	pollFor  = 200 * time.Millisecond
)

var lowest = version.Line{Major: 3, Minor: 5}

// Downgrade lets the cluster agree on the line below the one it has agreed on,
// and waits until every member has followed: then members may be swapped.
func (c *Client) Downgrade(ctx context.Context, to version.Line) error {
	if to.Before(lowest) {
		// A 3.5 server records such a wish, and dies of it at its next start.
		return fmt.Errorf("%w: stop all members and make each from one database (migrate prepare, migrate apply)", ErrTooLow)
	}
	members, err := c.begin(ctx)
	if err != nil {
		return err
	}
	followed, err := c.check(ctx, members, to)
	if err != nil || followed {
		return err
	}
	if err := c.enable(ctx, to); err != nil {
		return err
	}
	c.Say(fmt.Sprintf("the cluster is told to go down to %s", to))
	return c.wait(ctx, members, to)
}

// begin lists the members.
func (c *Client) begin(ctx context.Context) (members []Member, err error) {
	if c.http, err = c.TLS.client(callIn); err != nil {
		return nil, err
	}
	out, err := c.Ctl(ctx, "member", "list", "--write-out=json")
	if err != nil {
		return nil, fmt.Errorf("asking for the members: %w", err)
	}
	var r struct {
		Members []struct {
			ID         uint64
			Name       string
			ClientURLs []string
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("the list of members: %w", err)
	}
	for _, m := range r.Members {
		if m.Name == "" {
			m.Name = fmt.Sprintf("%x", m.ID) // it was added and never started
		}
		members = append(members, Member{Name: m.Name, ClientURLs: m.ClientURLs})
	}
	return members, nil
}

func (c *Client) ask(ctx context.Context, members []Member) []Answer {
	var all []Answer
	for _, m := range members {
		all = append(all, ask(ctx, m, c.http, c.http))
	}
	return all
}

// check says whether the cluster is there already, or why it can not go.
func (c *Client) check(ctx context.Context, members []Member, to version.Line) (followed bool, err error) {
	followed = true
	for _, a := range c.ask(ctx, members) {
		switch {
		case a.Err != nil:
			return false, fmt.Errorf("%w: member %s does not answer, and with a member down nothing moves: start it, or remove it: %w", ErrNotYet, a.Name, a.Err)
		case a.AgreedKnown && a.Agreed == to:
		case !a.AgreedKnown || a.Agreed != to.Next():
			return false, fmt.Errorf("%w: it has agreed on version %s, as member %s says, and can go down one minor at a time, to the line below", ErrNotYet, known(a.Agreed, a.AgreedKnown), a.Name)
		case a.Server.Line() != to.Next():
			return false, fmt.Errorf("%w: member %s runs etcd %s; bring every member to %s first", ErrNotYet, a.Name, a.Server, to.Next())
		}
		followed = followed && follows(a, to)
	}
	if followed {
		c.Say(fmt.Sprintf("every member has agreed on %s already", to))
	}
	return followed, nil
}

func known(l version.Line, ok bool) string {
	if !ok {
		return "(none)"
	}
	return l.String()
}

// follows says whether a member has agreed and stores nothing newer.
func follows(a Answer, to version.Line) bool {
	return a.Err == nil && a.AgreedKnown && a.Agreed == to && (!a.StorageKnown || a.Storage == to)
}

// enable asks, and asks again while the job before is not cleared away.
func (c *Client) enable(ctx context.Context, to version.Line) error {
	ctx, cancel := context.WithTimeout(ctx, retryIn)
	defer cancel()
	for {
		_, err := c.Ctl(ctx, "downgrade", "validate", to.String())
		if err == nil {
			_, err = c.Ctl(ctx, "downgrade", "enable", to.String())
		}
		if err != nil {
			err = fmt.Errorf("asking to go down to %s: %w", to, err)
		}
		if err == nil || !strings.Contains(err.Error(), "in progress") {
			return err
		}
		if wait(ctx, time.Second) != nil {
			return err
		}
	}
}

// wait waits until every member has followed.
func (c *Client) wait(ctx context.Context, members []Member, to version.Line) error {
	ctx, cancel := context.WithTimeout(ctx, followIn)
	defer cancel()
	for {
		behind := ""
		for _, a := range c.ask(ctx, members) {
			if !follows(a, to) {
				behind = a.Name
			}
		}
		if behind == "" {
			c.Say(fmt.Sprintf("every member has agreed on %s: stop and swap them one by one", to))
			return nil
		}
		if err := wait(ctx, pollFor); err != nil {
			return fmt.Errorf("the cluster was told to go down to %s, but member %s has not followed: see to it, and run this again: %w", to, behind, err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
