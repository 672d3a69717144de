package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/klog/v2"
)

// balancer works on the pieces of one Service, in the way in which Go providers do: step by step,
// reading before it writes, and writing what differs.
type balancer struct {
	*cloud
	clusterName string
	wish        *wish
}

// GetLoadBalancerName is the library's default, as ours is.
func (c *cloud) GetLoadBalancerName(_ context.Context, _ string, service *v1.Service) string {
	return cloudprovider.DefaultLoadBalancerName(service)
}

// GetLoadBalancer finds a Service's load balancer, or else whatever there is of it: without that the
// library would not call for a half-made one to be deleted.
func (c *cloud) GetLoadBalancer(ctx context.Context, clusterName string, service *v1.Service) (*v1.LoadBalancerStatus, bool, error) {
	marks := c.marks(clusterName, service)
	lb, err := c.findLoadBalancer(ctx, clusterName, service)
	if err != nil {
		return nil, false, err
	}
	addresses, err := pieces[address](ctx, c.api, addressesPath, tagged(marks))
	if err != nil {
		return nil, false, err
	}
	if lb == nil {
		groups, err := pieces[targetGroup](ctx, c.api, targetGroupsPath, tagged(marks))
		return &v1.LoadBalancerStatus{}, len(addresses)+len(groups) > 0, err
	}
	status := &v1.LoadBalancerStatus{}
	for _, one := range addresses {
		if slices.Contains(lb.Addresses, one.ID) {
			status.Ingress = append(status.Ingress, v1.LoadBalancerIngress{IP: one.Address.String()})
		}
	}
	return status, true, nil
}

// findLoadBalancer looks by the tags, and then by the name.
func (c *cloud) findLoadBalancer(ctx context.Context, clusterName string, service *v1.Service) (*loadBalancer, error) {
	found, err := pieces[loadBalancer](ctx, c.api, loadBalancersPath, tagged(c.marks(clusterName, service)))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		name := cloudprovider.DefaultLoadBalancerName(service)
		if found, err = pieces[loadBalancer](ctx, c.api, loadBalancersPath, url.Values{"name": {name}}); err != nil {
			return nil, err
		}
		for _, one := range found {
			if owner, marked := one.Tags[ownerTag]; marked && owner != string(service.UID) ||
				one.Tags[clusterTag] != "" && one.Tags[clusterTag] != c.cluster(clusterName) {
				return nil, fmt.Errorf("load balancer %s bears somebody else's mark", one.ID)
			}
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// EnsureLoadBalancer makes all pieces of a Service what they are to be.
func (c *cloud) EnsureLoadBalancer(ctx context.Context, clusterName string, service *v1.Service, nodes []*v1.Node) (*v1.LoadBalancerStatus, error) {
	wish, err := c.read(clusterName, service)
	if err != nil {
		return nil, err
	}
	b := &balancer{c, clusterName, wish}
	addresses, surplus, err := b.ensureAddresses(ctx)
	if err != nil {
		return nil, err
	}
	lb, err := c.findLoadBalancer(ctx, clusterName, service)
	if err != nil {
		return nil, err
	}
	if lb != nil && (lb.Internal != wish.internal || !lb.usable()) {
		// What it is cannot be changed, so it is made anew.
		if err := b.removeLoadBalancer(ctx, lb.ID); err != nil {
			return nil, err
		}
		lb = nil
	}
	isNew := lb == nil
	if lb, err = b.ensureLoadBalancer(ctx, lb, addresses); err != nil {
		return nil, err
	}
	groups, unused, err := b.ensureGroups(ctx, wish.targets(nodes))
	if err != nil {
		return nil, err
	}
	if err := b.ensureListeners(ctx, lb, isNew, groups); err != nil {
		return nil, err
	}
	// What nothing refers to any more.
	for _, one := range unused {
		if err := remove(ctx, c.api, targetGroupsPath, one.ID); err != nil {
			return nil, err
		}
	}
	for _, one := range surplus {
		if err := remove(ctx, c.api, addressesPath, one.ID); err != nil {
			return nil, err
		}
	}
	if err := b.ensureRules(ctx, wish.rules()); err != nil {
		return nil, err
	}
	status := &v1.LoadBalancerStatus{}
	for _, one := range addresses {
		status.Ingress = append(status.Ingress, v1.LoadBalancerIngress{IP: one.Address.String(), IPMode: &wish.ipMode})
	}
	return status, nil
}

// UpdateLoadBalancer changes the targets and nothing else.
func (c *cloud) UpdateLoadBalancer(ctx context.Context, clusterName string, service *v1.Service, nodes []*v1.Node) error {
	wish, err := c.read(clusterName, service)
	if err != nil {
		return err
	}
	b := &balancer{c, clusterName, wish}
	found, err := pieces[targetGroup](ctx, c.api, targetGroupsPath, tagged(c.marks(clusterName, service)))
	if err != nil {
		return err
	}
	wanted := wish.targets(nodes)
	for _, group := range found {
		if err := b.ensureTargets(ctx, &group, wanted); err != nil {
			return err
		}
	}
	return nil
}

// EnsureLoadBalancerDeleted takes everything down, what lets clients in first.
func (c *cloud) EnsureLoadBalancerDeleted(ctx context.Context, clusterName string, service *v1.Service) error {
	marks := c.marks(clusterName, service)
	b := &balancer{c, clusterName, &wish{uid: string(service.UID), pieceName: pieceName(service)}}
	if err := b.ensureRules(ctx, nil); err != nil {
		return err
	}
	lb, err := c.findLoadBalancer(ctx, clusterName, service)
	if err != nil {
		return err
	}
	if lb != nil {
		if err := b.removeLoadBalancer(ctx, lb.ID); err != nil {
			return err
		}
	}
	groups, err := pieces[targetGroup](ctx, c.api, targetGroupsPath, tagged(marks))
	if err != nil {
		return err
	}
	for _, one := range groups {
		if err := remove(ctx, c.api, targetGroupsPath, one.ID); err != nil {
			return err
		}
	}
	addresses, err := pieces[address](ctx, c.api, addressesPath, tagged(marks))
	if err != nil {
		return err
	}
	for _, one := range addresses {
		if err := remove(ctx, c.api, addressesPath, one.ID); err != nil {
			return err
		}
	}
	return nil
}

// ensureAddresses gives those that are used, in the order of the wish, and those that are not used
// any more.
func (b *balancer) ensureAddresses(ctx context.Context) (used, surplus []address, err error) {
	found, err := pieces[address](ctx, b.api, addressesPath, tagged(b.mine()))
	if err != nil {
		return nil, nil, err
	}
	for _, wanted := range b.wish.addresses {
		at := slices.IndexFunc(found, func(one address) bool {
			return one.usable() && one.Family == wanted.family &&
				(!wanted.requested.IsValid() || one.Address == wanted.requested)
		})
		if at >= 0 {
			one := found[at]
			found = slices.Delete(found, at, at+1)
			if err := tag(ctx, b.api, addressesPath, one, b.wish.tags); err != nil {
				return nil, nil, err
			}
			used = append(used, one)
			continue
		}
		asked := map[string]any{"name": b.wish.pieceName, "family": wanted.family, "tags": b.wish.tags}
		if wanted.requested.IsValid() {
			asked["address"] = wanted.requested
		}
		one, err := create[address](ctx, b.api, addressesPath, b.wish.uid, asked)
		if err != nil {
			return nil, nil, fmt.Errorf("creating an address: %w", err)
		}
		if err := ready(ctx, b.api, addressesPath, *one); err != nil {
			return nil, nil, err
		}
		used = append(used, *one)
	}
	return used, found, nil
}

// mine are the marks, without the tags that a user wants beside them.
func (b *balancer) mine() map[string]string {
	return map[string]string{clusterTag: b.cluster(b.clusterName), ownerTag: b.wish.uid}
}

func (b *balancer) ensureLoadBalancer(ctx context.Context, lb *loadBalancer, addresses []address) (*loadBalancer, error) {
	var ids []string
	for _, one := range addresses {
		ids = append(ids, one.ID)
	}
	if lb == nil {
		lb, err := create[loadBalancer](ctx, b.api, loadBalancersPath, b.wish.uid, map[string]any{
			"name": b.wish.name, "internal": b.wish.internal, "addresses": ids, "tags": b.wish.tags,
		})
		if err != nil {
			return nil, fmt.Errorf("creating the load balancer: %w", err)
		}
		return lb, ready(ctx, b.api, loadBalancersPath, *lb)
	}
	if err := tag(ctx, b.api, loadBalancersPath, *lb, b.wish.tags); err != nil {
		return nil, err
	}
	if !sameSet(lb.Addresses, ids) {
		if err := update(ctx, b.api, loadBalancersPath, lb.ID, map[string]any{"addresses": ids}); err != nil {
			return nil, err
		}
	}
	return lb, ready(ctx, b.api, loadBalancersPath, *lb)
}

func sameSet(one, other []string) bool {
	one, other = slices.Sorted(slices.Values(one)), slices.Sorted(slices.Values(other))
	return slices.Equal(one, other)
}

// ensureGroups gives the target groups that are used, and those that are not any more.
func (b *balancer) ensureGroups(ctx context.Context, targets []string) (map[groupKey]string, []targetGroup, error) {
	found, err := pieces[targetGroup](ctx, b.api, targetGroupsPath, tagged(b.mine()))
	if err != nil {
		return nil, nil, err
	}
	used := map[groupKey]string{}
	for _, port := range b.wish.ports {
		// Ports may share a node port; the health check of the first holds.
		if _, ok := used[port.group]; ok {
			continue
		}
		var group *targetGroup
		at := slices.IndexFunc(found, func(one targetGroup) bool {
			return groupKey{one.Protocol, one.NodePort} == port.group
		})
		if at >= 0 {
			one := found[at]
			group = &one
			found = slices.Delete(found, at, at+1)
			if err := tag(ctx, b.api, targetGroupsPath, one, b.wish.tags); err != nil {
				return nil, nil, err
			}
			if one.HealthCheck != port.check {
				change := map[string]any{"health_check": port.check}
				if err := update(ctx, b.api, targetGroupsPath, one.ID, change); err != nil {
					return nil, nil, err
				}
			}
		} else {
			group, err = create[targetGroup](ctx, b.api, targetGroupsPath, b.wish.uid, map[string]any{
				"name": b.wish.pieceName, "protocol": port.group.protocol, "node_port": port.group.nodePort,
				"health_check": port.check, "tags": b.wish.tags,
			})
			if err != nil {
				return nil, nil, fmt.Errorf("creating a target group: %w", err)
			}
		}
		if err := ready(ctx, b.api, targetGroupsPath, *group); err != nil {
			return nil, nil, err
		}
		if err := b.ensureTargets(ctx, group, targets); err != nil {
			return nil, nil, err
		}
		used[port.group] = group.ID
	}
	return used, found, nil
}

// ensureTargets adds and removes targets, as many at once as the cloud takes.
func (b *balancer) ensureTargets(ctx context.Context, group *targetGroup, wanted []string) error {
	path := targetGroupsPath + "/" + group.ID + "/targets"
	var have []string
	if group.TargetCount > 0 {
		found, err := list[target](ctx, b.api, path, nil)
		if err != nil {
			return err
		}
		for _, one := range found {
			if one.State != "draining" {
				have = append(have, one.Instance)
			}
		}
		slices.Sort(have)
	}
	missing := func(from []string) func(string) bool {
		return func(one string) bool { _, found := slices.BinarySearch(from, one); return !found }
	}
	add, removed := filter(wanted, missing(have)), filter(have, missing(wanted))
	for len(add)+len(removed) > 0 {
		adding := add[:min(len(add), b.batchLimit)]
		removing := removed[:min(len(removed), b.batchLimit-len(adding))]
		add, removed = add[len(adding):], removed[len(removing):]
		err := b.changeTargets(ctx, path, adding, removing)
		if isConflict(err) && len(adding) > 0 {
			// An instance may be gone of which we have not heard yet.
			if adding, err = b.alive(ctx, adding); err == nil {
				err = b.changeTargets(ctx, path, adding, removing)
			}
		}
		if err != nil {
			return fmt.Errorf("changing targets: %w", err)
		}
	}
	return nil
}

func (b *balancer) changeTargets(ctx context.Context, path string, add, remove []string) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	change := struct {
		Add    []string `json:"add,omitempty"`
		Remove []string `json:"remove,omitempty"`
	}{add, remove}
	return b.api.call(ctx, http.MethodPost, path, change, nil)
}

func (b *balancer) alive(ctx context.Context, ids []string) ([]string, error) {
	found, err := b.describe(ctx, describe{IDs: ids})
	var alive []string
	for i := range found {
		if ifAlive(&found[i]) != nil {
			alive = append(alive, found[i].ID)
		}
	}
	return alive, err
}

func filter(all []string, keep func(string) bool) []string {
	var kept []string
	for _, one := range all {
		if keep(one) {
			kept = append(kept, one)
		}
	}
	return kept
}

func (b *balancer) ensureListeners(ctx context.Context, lb *loadBalancer, isNew bool, groups map[groupKey]string) error {
	var found []listener
	if !isNew {
		var err error
		found, err = pieces[listener](ctx, b.api, listenersPath, url.Values{"load_balancer": {lb.ID}})
		if err != nil {
			return err
		}
	}
	for _, port := range b.wish.ports {
		group := groups[port.group]
		at := slices.IndexFunc(found, func(one listener) bool {
			return one.Protocol == port.protocol && one.Port == port.port
		})
		if at < 0 {
			one, err := create[listener](ctx, b.api, listenersPath, b.wish.uid, map[string]any{
				"name": b.wish.pieceName, "load_balancer": lb.ID, "protocol": port.protocol, "port": port.port,
				"target_group": group, "settings": port.settings, "tags": b.wish.tags,
			})
			if err != nil {
				return fmt.Errorf("creating a listener: %w", err)
			}
			if err := ready(ctx, b.api, listenersPath, *one); err != nil {
				return err
			}
			continue
		}
		one := found[at]
		found = slices.Delete(found, at, at+1)
		if err := tag(ctx, b.api, listenersPath, one, b.wish.tags); err != nil {
			return err
		}
		if one.TargetGroup != group || !one.Settings.equal(port.settings) {
			change := map[string]any{"target_group": group, "settings": port.settings}
			if err := update(ctx, b.api, listenersPath, one.ID, change); err != nil {
				return err
			}
		}
	}
	for _, one := range found {
		klog.V(2).Infof("deleting listener %s of %s", one.ID, b.wish.pieceName)
		if err := remove(ctx, b.api, listenersPath, one.ID); err != nil {
			return err
		}
	}
	return nil
}

// removeLoadBalancer deletes a load balancer with its listeners.
func (b *balancer) removeLoadBalancer(ctx context.Context, id string) error {
	found, err := pieces[listener](ctx, b.api, listenersPath, url.Values{"load_balancer": {id}})
	if err != nil {
		return err
	}
	for _, one := range found {
		if err := remove(ctx, b.api, listenersPath, one.ID); err != nil {
			return err
		}
	}
	return remove(ctx, b.api, loadBalancersPath, id)
}
