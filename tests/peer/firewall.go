package main

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
)

// firewallName is the name of each cluster's firewall.
const firewallName = "load-balancers"

type firewall struct {
	common
	RuleCount int `json:"rule_count"`
}

type ruleSpec struct {
	Owner     string       `json:"owner"`
	Source    netip.Prefix `json:"source"`
	Protocol  string       `json:"protocol"`
	Port      int32        `json:"port"`
	NodePorts []int32      `json:"node_ports"`
}

func (r ruleSpec) equal(other ruleSpec) bool {
	return r.Owner == other.Owner && r.Source == other.Source && r.Protocol == other.Protocol &&
		r.Port == other.Port && slices.Equal(r.NodePorts, other.NodePorts)
}

type rule struct {
	ID   string   `json:"id"`
	Spec ruleSpec `json:"spec"`
}

// firewallLock keeps workers from making two firewalls, or deleting one that another needs: all
// Services of a cluster share one. What is shared is held only while it is made or deleted.
type firewallLock struct{ sync.RWMutex }

// ensureRules makes the Service's rules in the firewall of the cluster these.
func (b *balancer) ensureRules(ctx context.Context, wanted []ruleSpec) error {
	b.firewall.RLock()
	found, have, err := b.rules(ctx)
	if err == nil && found != nil {
		err = b.changeRules(ctx, found, have, wanted)
	}
	b.firewall.RUnlock()
	if err != nil {
		return err
	}
	if found == nil && len(wanted) > 0 {
		return b.firstRules(ctx, wanted)
	}
	if found != nil && len(wanted) == 0 {
		return b.removeFirewall(ctx)
	}
	return nil
}

// rules are the cluster's firewall, if there is one, and this Service's rules in it.
func (b *balancer) rules(ctx context.Context) (*firewall, []rule, error) {
	mark := map[string]string{clusterTag: b.cluster(b.clusterName)}
	all, err := pieces[firewall](ctx, b.api, firewallsPath, tagged(mark))
	if err != nil || len(all) == 0 {
		return nil, nil, err
	}
	found := &all[0]
	if found.RuleCount == 0 {
		return found, nil, nil
	}
	rules, err := list[rule](ctx, b.api, rulesPath(found), url.Values{"owner": {b.wish.uid}})
	return found, rules, err
}

func rulesPath(of *firewall) string { return firewallsPath + "/" + of.ID + "/rules" }

// changeRules opens before it closes, so that a port that moves is never shut.
func (b *balancer) changeRules(ctx context.Context, in *firewall, have []rule, wanted []ruleSpec) error {
	for _, spec := range wanted {
		if slices.ContainsFunc(have, func(one rule) bool { return one.Spec.equal(spec) }) {
			continue
		}
		asked := map[string]any{"spec": spec, "client_token": clientToken(b.wish.uid, "rule", spec)}
		if err := b.api.call(ctx, http.MethodPost, rulesPath(in), asked, nil); err != nil {
			return err
		}
	}
	for _, one := range have {
		if slices.ContainsFunc(wanted, func(spec ruleSpec) bool { return one.Spec.equal(spec) }) {
			continue
		}
		err := b.api.call(ctx, http.MethodDelete, rulesPath(in)+"/"+one.ID, nil, nil)
		if err != nil && !isNotFound(err) {
			return err
		}
	}
	return nil
}

// firstRules makes the firewall.
func (b *balancer) firstRules(ctx context.Context, wanted []ruleSpec) error {
	b.firewall.Lock()
	defer b.firewall.Unlock()
	found, have, err := b.rules(ctx)
	if err != nil {
		return err
	}
	if found == nil {
		found, err = create[firewall](ctx, b.api, firewallsPath, "cluster", map[string]any{
			"name": firewallName,
			"tags": map[string]string{clusterTag: b.cluster(b.clusterName)},
		})
		if err != nil {
			return err
		}
		if err := ready(ctx, b.api, firewallsPath, *found); err != nil {
			return err
		}
	}
	return b.changeRules(ctx, found, have, wanted)
}

// removeFirewall deletes the firewall if no rule is left in it.
func (b *balancer) removeFirewall(ctx context.Context) error {
	b.firewall.Lock()
	defer b.firewall.Unlock()
	mark := map[string]string{clusterTag: b.cluster(b.clusterName)}
	all, err := pieces[firewall](ctx, b.api, firewallsPath, tagged(mark))
	if err != nil || len(all) == 0 || all[0].RuleCount > 0 {
		return err
	}
	return remove(ctx, b.api, firewallsPath, all[0].ID)
}
