package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// States of a piece.
const (
	stateActive   = "active"
	stateFailed   = "failed"
	stateDeleting = "deleting"
)

// common is what all pieces have.
type common struct {
	ID    string            `json:"id"`
	Name  string            `json:"name"`
	Tags  map[string]string `json:"tags"`
	State string            `json:"state"`
}

func (c common) base() common { return c }

func (c common) usable() bool { return c.State != stateFailed && c.State != stateDeleting }

type piece interface{ base() common }

type address struct {
	common
	Family  string     `json:"family"`
	Address netip.Addr `json:"address"`
}

type loadBalancer struct {
	common
	Internal  bool     `json:"internal"`
	Addresses []string `json:"addresses"`
}

type healthCheck struct {
	Protocol string `json:"protocol"`
	Port     int32  `json:"port"`
	Path     string `json:"path,omitempty"`
}

type targetGroup struct {
	common
	Protocol    string      `json:"protocol"`
	NodePort    int32       `json:"node_port"`
	HealthCheck healthCheck `json:"health_check"`
	TargetCount int         `json:"target_count"`
}

type target struct {
	Instance string `json:"instance"`
	State    string `json:"state"`
}

type listenerSettings struct {
	ProxyProtocol   bool   `json:"proxy_protocol"`
	IdleTimeoutS    int32  `json:"idle_timeout_s"`
	ClientAffinityS *int32 `json:"client_affinity_s,omitempty"`
}

func (s listenerSettings) equal(other listenerSettings) bool {
	same := func(one, other *int32) bool { return one == other || one != nil && other != nil && *one == *other }
	return s.ProxyProtocol == other.ProxyProtocol && s.IdleTimeoutS == other.IdleTimeoutS &&
		same(s.ClientAffinityS, other.ClientAffinityS)
}

type listener struct {
	common
	LoadBalancer string           `json:"load_balancer"`
	Protocol     string           `json:"protocol"`
	Port         int32            `json:"port"`
	TargetGroup  string           `json:"target_group"`
	Settings     listenerSettings `json:"settings"`
}

// Paths of the kinds.
const (
	addressesPath     = "/v1/addresses"
	loadBalancersPath = "/v1/load-balancers"
	targetGroupsPath  = "/v1/target-groups"
	listenersPath     = "/v1/listeners"
	firewallsPath     = "/v1/firewalls"
)

// create makes a piece. The token, which goes into what is asked for, makes a repetition harmless.
func create[T any](ctx context.Context, c *client, path, owner string, asked map[string]any) (*T, error) {
	asked["client_token"] = clientToken(owner, path, asked)
	made := new(T)
	return made, c.call(ctx, http.MethodPost, path, asked, made)
}

func update(ctx context.Context, c *client, path, id string, change map[string]any) error {
	return c.call(ctx, http.MethodPatch, path+"/"+id, change, nil)
}

// remove deletes a piece and waits until it is gone: what it uses cannot be deleted before.
func remove(ctx context.Context, c *client, path, id string) error {
	err := c.call(ctx, http.MethodDelete, path+"/"+id, nil, nil)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return poll(ctx, func(ctx context.Context) (bool, error) {
		err := c.call(ctx, http.MethodGet, path+"/"+id, nil, nil)
		if isNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

// ready waits until a piece is.
func ready[T piece](ctx context.Context, c *client, path string, one T) error {
	if one.base().State == stateActive {
		return nil
	}
	return poll(ctx, func(ctx context.Context) (bool, error) {
		var now common
		if err := c.call(ctx, http.MethodGet, path+"/"+one.base().ID, nil, &now); err != nil {
			return false, err
		}
		if !now.usable() {
			return false, fmt.Errorf("%s is %s", now.ID, now.State)
		}
		return now.State == stateActive, nil
	})
}

func poll(ctx context.Context, done wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, 5*time.Minute, true, done)
}

// tag sees to it that a piece has these tags. Others on it are let be.
func tag[T piece](ctx context.Context, c *client, path string, one T, tags map[string]string) error {
	have := one.base().Tags
	missing := func(key, value string) bool { have, ok := have[key]; return !ok || have != value }
	for key, value := range tags {
		if missing(key, value) {
			all := maps.Clone(have)
			if all == nil {
				all = map[string]string{}
			}
			maps.Copy(all, tags)
			return update(ctx, c, path, one.base().ID, map[string]any{"tags": all})
		}
	}
	return nil
}

// pieces lists those with these tags that can be used.
func pieces[T piece](ctx context.Context, c *client, path string, query url.Values) ([]T, error) {
	all, err := list[T](ctx, c, path, query)
	return slices.DeleteFunc(all, func(one T) bool { return one.base().State == stateDeleting }), err
}
