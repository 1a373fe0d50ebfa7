package server

import (
	"context"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func setRole(ctx context.Context, p Pod, q api.RoleRequest) (struct{}, error) {
	return struct{}{}, p.SetRole(ctx, q.Name, q.Role)
}

func rekey(ctx context.Context, p Pod, _ struct{}) (struct{}, error) {
	return struct{}{}, p.Rekey(ctx)
}

func memberLog(_ context.Context, p Pod, _ struct{}) ([]api.MemberEvent, error) {
	out := []api.MemberEvent{}
	for _, e := range p.MemberLog() {
		m := api.MemberEvent{What: e.What, Name: api.Text(e.Name), Kind: e.Kind, ID: e.ID, Role: e.Role, By: api.Text(e.By)}
		if !e.At.IsZero() {
			t := e.At.UTC()
			m.At = &t
		}
		out = append(out, m)
	}
	return out, nil
}
