package restapi

// Aggregated sums up subtasks, by metric and by state.
type Aggregated struct {
	Metrics        map[string]Aggregate `json:"metrics"`
	StatusDuration map[string]Aggregate `json:"status-duration"`
}

// Aggregate sums up values.
type Aggregate struct {
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Avg    float64 `json:"avg"`
	Sum    float64 `json:"sum"`
	Median float64 `json:"median"`
	P25    float64 `json:"p25"`
	P75    float64 `json:"p75"`
	P95    float64 `json:"p95"`
}

// SubtaskTimes is GET …/subtasktimes.
type SubtaskTimes struct {
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Now      int64         `json:"now"`
	Subtasks []SubtaskTime `json:"subtasks"`
}

// SubtaskTime tells when a subtask came into its states, 0 for not known.
type SubtaskTime struct {
	Subtask    int              `json:"subtask"`
	Endpoint   string           `json:"endpoint"`
	Duration   int64            `json:"duration"`
	Timestamps map[string]int64 `json:"timestamps"`
}

// VertexTaskManagers is GET …/vertices/:vertexid/taskmanagers.
type VertexTaskManagers struct {
	ID           string              `json:"id"`
	Name         string              `json:"name"`
	Now          int64               `json:"now"`
	TaskManagers []VertexTaskManager `json:"taskmanagers"`
}

// VertexTaskManager is a vertex's share on one taskmanager.
type VertexTaskManager struct {
	Endpoint      string         `json:"endpoint"`
	TaskManagerID string         `json:"taskmanager-id"`
	Status        string         `json:"status"`
	StartTime     int64          `json:"start-time"`
	EndTime       int64          `json:"end-time"`
	Duration      int64          `json:"duration"`
	Metrics       IOMetrics      `json:"metrics"`
	StatusCounts  map[string]int `json:"status-counts"`
	Aggregated    Aggregated     `json:"aggregated"`
}
