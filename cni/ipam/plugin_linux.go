package ipam

import (
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"go.etcd.io/bbolt"

	"ecsagent/cni/plugin"
)

// Name is the plugin's.
const Name = "ecs-ipam"

// Plugin is ecs-ipam.
func Plugin() plugin.Plugin {
	return plugin.Plugin{
		Name: Name, Family: plugin.ECS, Capabilities: []string{plugin.AWSVPC},
		Funcs: skel.CNIFuncs{
			Add: func(args *skel.CmdArgs) error {
				result, err := Add(args)
				if err != nil {
					return err
				}
				var head types.PluginConf
				if err := plugin.Decode(args.StdinData, &head); err != nil {
					return err
				}
				return types.PrintResult(result, head.CNIVersion)
			},
			Del: Del, Check: Check, Status: Status, GC: GC,
		},
	}
}

// owner is who the addresses of a call belong to.
func (c config) owner(args *skel.CmdArgs) string {
	if c.id == "" && args.ContainerID != plugin.NoContainer {
		return attachment(args)
	}
	return c.id
}

func attachment(args *skel.CmdArgs) string { return args.ContainerID + "/" + args.IfName }

func newDatabase(c config, netns string) (database, error) {
	path, wait, err := settings()
	return database{
		path: path, wait: wait,
		inUse: func() (map[string]string, error) { return scan(c.families, netns) },
		log:   plugin.Log(plugin.Plugin{Name: Name, Family: plugin.ECS}).Errorf,
	}, err
}

// Add gives the task its addresses; called again it gives the same.
func Add(args *skel.CmdArgs) (*current.Result, error) {
	c, err := parse(args.StdinData)
	if err != nil {
		return nil, err
	}
	d, err := newDatabase(c, args.Netns)
	if err != nil {
		return nil, err
	}
	result := &current.Result{CNIVersion: current.ImplementedSpecVersion}
	owner := c.owner(args)
	err = d.update(func(t table, tx *bbolt.Tx) error {
		result.IPs = nil
		for _, f := range c.families {
			a, err := f.allocate(t, owner)
			if err != nil {
				return err
			}
			address := plugin.IPNet(f.subnet)
			address.IP = a.AsSlice()
			result.IPs = append(result.IPs, &current.IPConfig{Address: address, Gateway: f.gateway.AsSlice()})
		}
		return remember(tx, owner, args)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	for _, r := range c.routes {
		one := &types.Route{Dst: plugin.IPNet(r.dst)}
		if r.gateway.IsValid() {
			one.GW = r.gateway.AsSlice()
		}
		result.Routes = append(result.Routes, one)
	}
	return result, nil
}

// Del takes the task's addresses back, if it has any. An owner whose addresses are
// another container's by now keeps them: EC2 uses MAC addresses again, and a task may be
// cleaned up hours after its interface went to the next one.
func Del(args *skel.CmdArgs) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	d, err := newDatabase(c, args.Netns)
	if err != nil {
		return err
	}
	owner := c.owner(args)
	for _, f := range c.families {
		if f.fixed.IsValid() && c.id == "" {
			owner = "" // an address alone names what to release
		}
	}
	return d.update(func(t table, tx *bbolt.Tx) error {
		if at, ok := attachments(tx)(owner); ok && args.ContainerID != plugin.NoContainer && at != attachment(args) {
			return nil
		}
		for _, f := range c.families {
			if err := f.release(t, owner); err != nil {
				return err
			}
		}
		return forget(tx, owner)
	})
}

// Check says whether the task has its addresses.
func Check(args *skel.CmdArgs) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	d, err := newDatabase(c, args.Netns)
	if err != nil {
		return err
	}
	owner := c.owner(args)
	return d.update(func(t table, _ *bbolt.Tx) error {
		for _, f := range c.families {
			if _, ok, err := f.owned(t, owner); err != nil {
				return err
			} else if !ok {
				return fmt.Errorf("%q has no address in %s", owner, f.subnet)
			}
		}
		return nil
	})
}

// Status says whether another task could have an address.
func Status(args *skel.CmdArgs) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	d, err := newDatabase(c, args.Netns)
	if err != nil {
		return err
	}
	err = d.update(func(t table, _ *bbolt.Tx) error {
		for _, f := range c.families {
			if err := f.free(t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
	}
	return nil
}

// GC takes back the addresses of attachments that are not listed as valid. An owner that
// no call of ours recorded keeps its addresses for as long as a namespace has them.
func GC(args *skel.CmdArgs) error {
	c, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	var raw rawConfig
	if err := plugin.Decode(args.StdinData, &raw); err != nil {
		return err
	}
	valid := map[string]bool{}
	for _, a := range raw.ValidAttachments {
		valid[a.ContainerID+"/"+a.IfName] = true
	}
	d, err := newDatabase(c, args.Netns)
	if err != nil {
		return err
	}
	seen, err := scan(c.families, "")
	if err != nil {
		return err
	}
	return d.update(func(t table, tx *bbolt.Tx) error {
		for _, k := range stale(t, c.families, attachments(tx), valid, seen) {
			owner, _ := t.get(k)
			if err := t.delete(k); err != nil {
				return err
			}
			if err := forget(tx, owner); err != nil {
				return err
			}
		}
		return nil
	})
}

// remember records which container an owner's addresses are for.
func remember(tx *bbolt.Tx, owner string, args *skel.CmdArgs) error {
	if owner == "" || args.ContainerID == plugin.NoContainer {
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(bucketAttachments)
	if err == nil {
		err = b.Put([]byte(owner), []byte(attachment(args)))
	}
	if err != nil {
		return fmt.Errorf("write to the address database: %w", err)
	}
	return nil
}

func forget(tx *bbolt.Tx, owner string) error {
	b := tx.Bucket(bucketAttachments)
	if b == nil || owner == "" {
		return nil
	}
	return b.Delete([]byte(owner))
}

func attachments(tx *bbolt.Tx) func(owner string) (string, bool) {
	b := tx.Bucket(bucketAttachments)
	return func(owner string) (string, bool) {
		if b == nil {
			return "", false
		}
		v := b.Get([]byte(owner))
		return string(v), v != nil
	}
}
