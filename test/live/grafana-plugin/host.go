// Package main runs Grafana's ClickHouse plugin without Grafana: a request as JSON on standard input,
// its health and the frames of each query as JSON on standard output.
package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/grafana/clickhouse-datasource/pkg/plugin"
	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

type query struct {
	Name       string          `json:"name"`
	Model      json.RawMessage `json:"model"`
	From       int64           `json:"from"`
	To         int64           `json:"to"`
	IntervalMs int64           `json:"intervalMs"`
}

type request struct {
	Settings json.RawMessage `json:"settings"`
	Password string          `json:"password"`
	User     string          `json:"user"`
	Queries  []query         `json:"queries"`
}

type field struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type answer struct {
	Name   string  `json:"name"`
	Error  string  `json:"error,omitempty"`
	Fields []field `json:"fields"`
	Rows   int     `json:"rows"`
	Ms     int64   `json:"ms"`
}

func main() {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	settings := backend.DataSourceInstanceSettings{
		UID:                     "telltale",
		Name:                    "Telltale",
		JSONData:                asked.Settings,
		DecryptedSecureJSONData: map[string]string{"password": asked.Password},
	}
	user := &backend.User{Login: asked.User}
	where := backend.PluginContext{OrgID: 1, User: user, DataSourceInstanceSettings: &settings}
	ctx := backend.WithUser(backend.WithPluginContext(context.Background(), where), user)
	instance, err := plugin.NewDatasource(ctx, settings)
	if err != nil {
		panic(err)
	}
	out := json.NewEncoder(os.Stdout)
	health, err := instance.(backend.CheckHealthHandler).CheckHealth(ctx, &backend.CheckHealthRequest{PluginContext: where})
	if err != nil {
		panic(err)
	}
	_ = out.Encode(answer{Name: "health " + health.Status.String(), Error: health.Message})
	for _, one := range asked.Queries {
		_ = out.Encode(run(ctx, instance.(backend.QueryDataHandler), where, one))
	}
}

func run(ctx context.Context, handler backend.QueryDataHandler, where backend.PluginContext, one query) answer {
	began := time.Now()
	response, err := handler.QueryData(ctx, &backend.QueryDataRequest{
		PluginContext: where,
		Queries: []backend.DataQuery{{
			RefID:         "A",
			Interval:      time.Duration(one.IntervalMs) * time.Millisecond,
			MaxDataPoints: 96,
			TimeRange:     backend.TimeRange{From: time.UnixMilli(one.From), To: time.UnixMilli(one.To)},
			JSON:          one.Model,
		}},
	})
	done := answer{Name: one.Name, Fields: []field{}, Ms: time.Since(began).Milliseconds()}
	if err != nil {
		done.Error = err.Error()
		return done
	}
	for _, part := range response.Responses {
		if part.Error != nil {
			done.Error = part.Error.Error()
		}
		for _, frame := range part.Frames {
			rows, _ := frame.RowLen()
			done.Rows += rows
			for _, f := range frame.Fields {
				done.Fields = append(done.Fields, field{Name: f.Name, Type: f.Type().String()})
			}
		}
	}
	return done
}
