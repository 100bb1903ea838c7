// Package containerd serves the snapshotter of package snapshots to a containerd, as a
// proxy plugin on a Unix socket.
//
// # Example
//
//	snapshotter, err := snapshots.New(pool, filesystem.Local{}, snapshots.Options{Namespace: "k8s"})
//	if err != nil {
//		return err
//	}
//	defer snapshotter.Close()
//	if err := snapshotter.Recover(ctx); err != nil {
//		return err
//	}
//	listener, err := containerd.Listen("/run/thinctl/k8s.sock")
//	if err != nil {
//		return err
//	}
//	return containerd.Serve(ctx, listener, snapshotter, containerd.ServeOptions{})
package containerd
