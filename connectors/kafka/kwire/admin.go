package kwire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/deletetopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
)

// NewTopic describes a topic to create.
type NewTopic struct {
	Name       string
	Partitions int // 0: the brokers' default
	Replicas   int // 0: the brokers' default
	Settings   map[string]string
}

const adminTimeout = 30 * time.Second

// CreateTopics creates topics; one that exists is an error with TopicExists.
func (c *Client) CreateTopics(ctx context.Context, topics ...NewTopic) error {
	req := &createtopics.Request{TimeoutMs: int32(adminTimeout.Milliseconds())}
	for _, t := range topics {
		r := createtopics.RequestTopic{Name: t.Name, NumPartitions: int32(t.Partitions), ReplicationFactor: int16(t.Replicas)}
		if t.Partitions == 0 {
			r.NumPartitions = -1
		}
		if t.Replicas == 0 {
			r.ReplicationFactor = -1
		}
		for k, v := range t.Settings {
			r.Configs = append(r.Configs, createtopics.RequestConfig{Name: k, Value: v})
		}
		req.Topics = append(req.Topics, r)
	}
	return c.retry(ctx, "create topics", func() error {
		conn, err := c.controllerConn(ctx)
		if err != nil {
			return err
		}
		res, err := as[createtopics.Response](conn.call(ctx, 4, 5, req))
		if err != nil {
			return err
		}
		var errs []error
		for _, t := range res.Topics {
			if t.ErrorCode != 0 {
				errs = append(errs, fmt.Errorf("topic %q: %s: %w", t.Name, t.ErrorMessage, Code(t.ErrorCode)))
			}
		}
		return errors.Join(errs...)
	})
}

// DeleteTopics deletes topics; one that does not exist is an error with
// UnknownTopicOrPartition.
func (c *Client) DeleteTopics(ctx context.Context, names ...string) error {
	conn, err := c.controllerConn(ctx)
	if err != nil {
		return err
	}
	res, err := as[deletetopics.Response](conn.call(ctx, 1, 3, &deletetopics.Request{TopicNames: names, TimeoutMs: int32(adminTimeout.Milliseconds())}))
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range res.Responses {
		if t.ErrorCode != 0 {
			errs = append(errs, fmt.Errorf("delete topic %q: %w", t.Name, Code(t.ErrorCode)))
		}
	}
	return errors.Join(errs...)
}

// Resources of which settings can be read.
const (
	resourceTopic  int8 = 2
	resourceBroker int8 = 4
)

// BrokerSettings returns the named settings of one broker.
func (c *Client) BrokerSettings(ctx context.Context, names ...string) (map[string]string, error) {
	var out map[string]string
	err := c.retry(ctx, "settings of the brokers", func() error {
		if _, err := c.Metadata(ctx, []string{}); err != nil {
			return err
		}
		id, err := c.someBroker()
		if err != nil {
			return err
		}
		conn, err := c.Broker(ctx, id, LaneControl)
		if err != nil {
			return err
		}
		out, err = conn.settings(ctx, resourceBroker, strconv.Itoa(int(id)), names)
		return err
	})
	return out, err
}

// TopicSettings returns the named settings of a topic.
func (c *Client) TopicSettings(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	var out map[string]string
	err := c.retry(ctx, fmt.Sprintf("settings of topic %q", topic), func() error {
		conn, err := c.Any(ctx)
		if err != nil {
			return err
		}
		out, err = conn.settings(ctx, resourceTopic, topic, names)
		return err
	})
	return out, err
}

func (c *Client) someBroker() (int32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.meta.brokers {
		return id, nil
	}
	return 0, fmt.Errorf("the cluster has no broker: %w", LeaderNotAvailable)
}

func (c *Conn) settings(ctx context.Context, kind int8, name string, names []string) (map[string]string, error) {
	res, err := as[describeconfigs.Response](c.call(ctx, 0, 3, &describeconfigs.Request{
		Resources: []describeconfigs.RequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: names}},
	}))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range res.Resources {
		if r.ErrorCode != 0 {
			return nil, fmt.Errorf("settings of %q: %s: %w", name, r.ErrorMessage, Code(r.ErrorCode))
		}
		for _, e := range r.ConfigEntries {
			out[e.ConfigName] = e.ConfigValue
		}
	}
	return out, nil
}
