// Package restapi holds the request and response bodies of the REST API and a
// client for it. Paths and field names are those of Flink's monitoring API
// where the same thing exists; what Flink lacks has fields of its own. It
// imports nothing of the engine, so that tools can use it alone.
package restapi

// Error is a coded error: what happened, where, why, and what mends it.
type Error struct {
	Code  string   `json:"code"`
	What  string   `json:"what"`
	Where string   `json:"where,omitempty"`
	Why   string   `json:"why,omitempty"`
	Fix   []string `json:"fix,omitempty"`
	// Status is the HTTP status, filled by the client.
	Status int `json:"-"`
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Code + ": " + e.What
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}

// ErrorBody is the body of each answer that is not 2xx. Errors is Flink's key.
type ErrorBody struct {
	Errors []string `json:"errors"`
	Error  *Error   `json:"error,omitempty"`
}

// Overview is GET /v1/overview.
type Overview struct {
	TaskManagers   int    `json:"taskmanagers"`
	SlotsTotal     int    `json:"slots-total"`
	SlotsAvailable int    `json:"slots-available"`
	JobsRunning    int    `json:"jobs-running"`
	JobsFinished   int    `json:"jobs-finished"`
	JobsCancelled  int    `json:"jobs-cancelled"`
	JobsFailed     int    `json:"jobs-failed"`
	Version        string `json:"flink-version"`
	Commit         string `json:"flink-commit"`
	Leader         string `json:"leader"`
	Epoch          int64  `json:"epoch"`
	Control        string `json:"control-address"`
	StartTime      int64  `json:"start-time"`
}

// JobIDs is GET /v1/jobs.
type JobIDs struct {
	Jobs []JobIDStatus `json:"jobs"`
}

// JobIDStatus names a job and its state.
type JobIDStatus struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// JobsOverview is GET /v1/jobs/overview.
type JobsOverview struct {
	Jobs []JobOverview `json:"jobs"`
}

// JobOverview is one job in a list. Times are milliseconds since the epoch,
// -1 when the job has not ended.
type JobOverview struct {
	ID               string         `json:"jid"`
	Name             string         `json:"name"`
	JobType          string         `json:"jobType"`
	SchedulerType    string         `json:"schedulerType"`
	StartTime        int64          `json:"start-time"`
	EndTime          int64          `json:"end-time"`
	Duration         int64          `json:"duration"`
	State            string         `json:"state"`
	LastModification int64          `json:"last-modification"`
	Tasks            map[string]int `json:"tasks"`
	PendingOperators int            `json:"pending-operators"`
	// Own fields.
	StateReason    string `json:"state-reason,omitempty"`
	Parallelism    int    `json:"parallelism"`
	Restarts       int    `json:"restarts"`
	LastCheckpoint int64  `json:"last-checkpoint,omitempty"`
	// CheckpointAge is the time since the last completed checkpoint in
	// milliseconds, -1 without one.
	CheckpointAge int64 `json:"checkpoint-age"`
}

// Job is GET /v1/jobs/:jobid.
type Job struct {
	ID               string           `json:"jid"`
	Name             string           `json:"name"`
	IsStoppable      bool             `json:"isStoppable"`
	State            string           `json:"state"`
	JobType          string           `json:"job-type"`
	SchedulerType    string           `json:"schedulerType"`
	StartTime        int64            `json:"start-time"`
	EndTime          int64            `json:"end-time"`
	Duration         int64            `json:"duration"`
	MaxParallelism   int              `json:"maxParallelism"`
	Now              int64            `json:"now"`
	Timestamps       map[string]int64 `json:"timestamps"`
	Vertices         []Vertex         `json:"vertices"`
	StatusCounts     map[string]int   `json:"status-counts"`
	Plan             Plan             `json:"plan"`
	PendingOperators int              `json:"pending-operators"`
	// Own fields.
	StateReason  string   `json:"state-reason,omitempty"`
	Parallelism  int      `json:"parallelism"`
	Auto         bool     `json:"autoParallelism,omitempty"`
	Attempt      int64    `json:"attempt"`
	Restarts     int      `json:"restarts"`
	Bundle       string   `json:"bundle"`
	Args         []string `json:"args,omitempty"`
	RestoredFrom int64    `json:"restored-from,omitempty"`
	Failure      *Error   `json:"failure,omitempty"`
}

// Vertex is one vertex of a job.
type Vertex struct {
	ID             string         `json:"id"`
	SlotSharing    string         `json:"slotSharingGroupId"`
	Name           string         `json:"name"`
	MaxParallelism int            `json:"maxParallelism"`
	Parallelism    int            `json:"parallelism"`
	Status         string         `json:"status"`
	StartTime      int64          `json:"start-time"`
	EndTime        int64          `json:"end-time"`
	Duration       int64          `json:"duration"`
	Tasks          map[string]int `json:"tasks"`
	Metrics        IOMetrics      `json:"metrics"`
}

// IOMetrics are a vertex's or subtask's figures, times in milliseconds.
type IOMetrics struct {
	ReadBytes            int64 `json:"read-bytes"`
	ReadBytesComplete    bool  `json:"read-bytes-complete"`
	WriteBytes           int64 `json:"write-bytes"`
	WriteBytesComplete   bool  `json:"write-bytes-complete"`
	ReadRecords          int64 `json:"read-records"`
	ReadRecordsComplete  bool  `json:"read-records-complete"`
	WriteRecords         int64 `json:"write-records"`
	WriteRecordsComplete bool  `json:"write-records-complete"`
	BackPressured        int64 `json:"accumulated-backpressured-time"`
	Idle                 int64 `json:"accumulated-idle-time"`
	Busy                 int64 `json:"accumulated-busy-time"`
}

// VertexDetails is GET /v1/jobs/:jobid/vertices/:vertexid.
type VertexDetails struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	Parallelism    int        `json:"parallelism"`
	MaxParallelism int        `json:"maxParallelism"`
	Now            int64      `json:"now"`
	Subtasks       []Subtask  `json:"subtasks"`
	Aggregated     Aggregated `json:"aggregated"`
}

// Subtask is one subtask of a vertex.
type Subtask struct {
	Subtask       int       `json:"subtask"`
	Status        string    `json:"status"`
	Attempt       int64     `json:"attempt"`
	Endpoint      string    `json:"endpoint"`
	TaskManagerID string    `json:"taskmanager-id"`
	StartTime     int64     `json:"start-time"`
	EndTime       int64     `json:"end-time"`
	Duration      int64     `json:"duration"`
	Metrics       IOMetrics `json:"metrics"`
	// StartTimeOld is Flink's second spelling.
	StartTimeOld   int64            `json:"start_time"`
	StatusDuration map[string]int64 `json:"status-duration"`
	// Own fields. Watermark is nil before the first one.
	Watermark  *int64             `json:"watermark"`
	StateBytes int64              `json:"state-bytes"`
	Worker     string             `json:"worker"`
	Operators  map[string]float64 `json:"operators,omitempty"`
}

// Watermark is one item of GET …/watermarks.
type Watermark struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// Metric is one item of the metrics paths.
type Metric struct {
	ID    string `json:"id"`
	Value string `json:"value,omitempty"`
}

// PlanBody is GET /v1/jobs/:jobid/plan.
type PlanBody struct {
	Plan Plan `json:"plan"`
}

// Plan is a job's graph of vertices.
type Plan struct {
	JobID string     `json:"jid"`
	Name  string     `json:"name"`
	Type  string     `json:"type"`
	Nodes []PlanNode `json:"nodes"`
}

// PlanNode is a vertex of a plan.
type PlanNode struct {
	ID                  string         `json:"id"`
	Operator            string         `json:"operator"`
	Parallelism         int            `json:"parallelism"`
	OperatorStrategy    string         `json:"operator_strategy"`
	Description         string         `json:"description"`
	OptimizerProperties map[string]any `json:"optimizer_properties"`
	Inputs              []PlanInput    `json:"inputs,omitempty"`
}

// PlanInput is an edge of a plan.
type PlanInput struct {
	ID           string `json:"id"`
	Num          int    `json:"num"`
	Exchange     string `json:"exchange"`
	ShipStrategy string `json:"ship_strategy"`
}

// Checkpoints is GET /v1/jobs/:jobid/checkpoints.
type Checkpoints struct {
	Counts  CheckpointCounts   `json:"counts"`
	Summary CheckpointsSummary `json:"summary"`
	Latest  LatestCheckpoints  `json:"latest"`
	History []Checkpoint       `json:"history"`
}

// CheckpointCounts counts checkpoints since the job started.
type CheckpointCounts struct {
	Restored   int `json:"restored"`
	Total      int `json:"total"`
	InProgress int `json:"in_progress"`
	Completed  int `json:"completed"`
	Failed     int `json:"failed"`
}

// CheckpointsSummary summarises the completed checkpoints of the history.
type CheckpointsSummary struct {
	Size              Stats `json:"checkpointed_size"`
	StateSize         Stats `json:"state_size"`
	Duration          Stats `json:"end_to_end_duration"`
	AlignmentBuffered Stats `json:"alignment_buffered"`
	ProcessedData     Stats `json:"processed_data"`
	PersistedData     Stats `json:"persisted_data"`
}

// Stats are a summary of values.
type Stats struct {
	Min  int64   `json:"min"`
	Max  int64   `json:"max"`
	Avg  int64   `json:"avg"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
}

// LatestCheckpoints are the newest of each kind, nil without one.
type LatestCheckpoints struct {
	Completed *Checkpoint         `json:"completed"`
	Savepoint *Checkpoint         `json:"savepoint"`
	Failed    *Checkpoint         `json:"failed"`
	Restored  *RestoredCheckpoint `json:"restored"`
}

// RestoredCheckpoint is what the current attempt started from.
type RestoredCheckpoint struct {
	ID int64 `json:"id"`
}

// Checkpoint is one checkpoint or savepoint.
type Checkpoint struct {
	ClassName         string         `json:"className"`
	ID                int64          `json:"id"`
	Status            string         `json:"status"`
	IsSavepoint       bool           `json:"is_savepoint"`
	SavepointFormat   *string        `json:"savepointFormat"`
	TriggerTimestamp  int64          `json:"trigger_timestamp"`
	LatestAck         int64          `json:"latest_ack_timestamp"`
	CheckpointedSize  int64          `json:"checkpointed_size"`
	StateSize         int64          `json:"state_size"`
	Duration          int64          `json:"end_to_end_duration"`
	AlignmentBuffered int64          `json:"alignment_buffered"`
	ProcessedData     int64          `json:"processed_data"`
	PersistedData     int64          `json:"persisted_data"`
	Subtasks          int            `json:"num_subtasks"`
	Acknowledged      int            `json:"num_acknowledged_subtasks"`
	Type              string         `json:"checkpoint_type"`
	Tasks             map[string]any `json:"tasks"`
	ExternalPath      string         `json:"external_path,omitempty"`
	Discarded         bool           `json:"discarded"`
	FailureMessage    string         `json:"failure_message,omitempty"`
	FailureTimestamp  int64          `json:"failure_timestamp,omitempty"`
	AlignmentMax      int64          `json:"alignment_max_millis"`
}

// CheckpointConfig is GET /v1/jobs/:jobid/checkpoints/config.
type CheckpointConfig struct {
	Mode           string `json:"mode"`
	Interval       int64  `json:"interval"`
	Timeout        int64  `json:"timeout"`
	MinPause       int64  `json:"min_pause"`
	MaxConcurrent  int    `json:"max_concurrent"`
	StateBackend   string `json:"state_backend"`
	Unaligned      bool   `json:"unaligned_checkpoints"`
	TolerableFails int    `json:"tolerable_failed_checkpoints"`
	Storage        string `json:"checkpoint_storage"`
	// AlignedTimeout is in milliseconds, 0 when barriers never overtake.
	AlignedTimeout   int64 `json:"aligned_checkpoint_timeout"`
	AfterTasksFinish bool  `json:"checkpoints_after_tasks_finish"`
}

// Exceptions is GET /v1/jobs/:jobid/exceptions.
type Exceptions struct {
	History ExceptionHistory `json:"exceptionHistory"`
}

// ExceptionHistory holds the newest failures first.
type ExceptionHistory struct {
	Entries   []Exception `json:"entries"`
	Truncated bool        `json:"truncated"`
}

// Exception is one failure of a job.
type Exception struct {
	Name          string            `json:"exceptionName"`
	Stacktrace    string            `json:"stacktrace"`
	Timestamp     int64             `json:"timestamp"`
	FailureLabels map[string]string `json:"failureLabels"`
	TaskName      string            `json:"taskName,omitempty"`
	Endpoint      string            `json:"endpoint,omitempty"`
	TaskManagerID string            `json:"taskManagerId,omitempty"`
	Concurrent    []Exception       `json:"concurrentExceptions"`
	Error         *Error            `json:"error,omitempty"`
	Operator      string            `json:"operator,omitempty"`
	Record        string            `json:"record,omitempty"`
	Attempt       int64             `json:"attempt,omitempty"`
	Restarted     bool              `json:"restarted"`
}

// TaskManagers is GET /v1/taskmanagers.
type TaskManagers struct {
	TaskManagers []TaskManager `json:"taskmanagers"`
}

// TaskManager is one taskmanager; Heartbeat is the time of the last one.
type TaskManager struct {
	ID          string `json:"id"`
	Path        string `json:"path"`
	DataPort    int    `json:"dataPort"`
	Heartbeat   int64  `json:"timeSinceLastHeartbeat"`
	SlotsNumber int    `json:"slotsNumber"`
	FreeSlots   int    `json:"freeSlots"`
	// AssignedTasks is the number of workers.
	AssignedTasks  int      `json:"assignedTasks"`
	Hardware       Hardware `json:"hardware"`
	Host           string   `json:"host"`
	Version        string   `json:"version"`
	Platform       string   `json:"platform"`
	PID            int64    `json:"pid"`
	MemoryUsed     int64    `json:"memoryUsed"`
	CPUSeconds     float64  `json:"cpuSeconds"`
	Registered     int64    `json:"registered"`
	Workers        []Worker `json:"workers"`
	MetricsAddress string   `json:"metricsAddress,omitempty"`
}

// Hardware is what a taskmanager may use.
type Hardware struct {
	CPUCores       int   `json:"cpuCores"`
	PhysicalMemory int64 `json:"physicalMemory"`
	FreeMemory     int64 `json:"freeMemory"`
	ManagedMemory  int64 `json:"managedMemory"`
}

// Worker is one worker process on a taskmanager.
type Worker struct {
	ID      string `json:"id"`
	JobID   string `json:"job-id"`
	Attempt int64  `json:"attempt"`
	PID     int64  `json:"pid"`
}

// Bundles is GET /v1/jars.
type Bundles struct {
	Address string   `json:"address"`
	Files   []Bundle `json:"files"`
}

// Bundle is one uploaded bundle; ID is its SHA-256.
type Bundle struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Uploaded  int64         `json:"uploaded"`
	Entry     []BundleEntry `json:"entry"`
	Size      int64         `json:"size"`
	Platforms []string      `json:"platforms"`
}

// BundleEntry is Flink's list of entry classes: here the one program.
type BundleEntry struct {
	Name        string  `json:"name"`
	Description *string `json:"description"`
}

// UploadResponse is POST /v1/jars/upload.
type UploadResponse struct {
	Filename string `json:"filename"`
	Status   string `json:"status"`
	ID       string `json:"id"`
}

// RunRequest is POST /v1/jars/:jarid/run.
type RunRequest struct {
	EntryClass            string            `json:"entryClass,omitempty"`
	Parallelism           int               `json:"parallelism,omitempty"`
	ProgramArgsList       []string          `json:"programArgsList,omitempty"`
	SavepointPath         string            `json:"savepointPath,omitempty"`
	AllowNonRestoredState bool              `json:"allowNonRestoredState,omitempty"`
	Configuration         map[string]string `json:"flinkConfiguration,omitempty"`
	// Own fields. Auto: the parallelism follows the slots.
	Auto         bool              `json:"autoParallelism,omitempty"`
	Name         string            `json:"name,omitempty"`
	DropState    []string          `json:"dropState,omitempty"`
	AllowDrained bool              `json:"allowDrained,omitempty"`
	Environment  map[string]string `json:"environment,omitempty"`
	RequestID    string            `json:"requestId,omitempty"`
	// Like is the id of another job, from whose submission is taken what is not
	// given here: name, parallelism, arguments, properties, environment.
	Like string `json:"like,omitempty"`
}

// RunResponse names the job that runs.
type RunResponse struct {
	JobID         string `json:"jobid"`
	ApplicationID string `json:"applicationId"`
}

// SavepointRequest is POST /v1/jobs/:jobid/savepoints.
type SavepointRequest struct {
	TargetDirectory string `json:"target-directory,omitempty"`
	CancelJob       bool   `json:"cancel-job,omitempty"`
	FormatType      string `json:"formatType,omitempty"`
	TriggerID       string `json:"triggerId,omitempty"`
}

// StopRequest is POST /v1/jobs/:jobid/stop.
type StopRequest struct {
	TargetDirectory string `json:"targetDirectory,omitempty"`
	Drain           bool   `json:"drain,omitempty"`
	FormatType      string `json:"formatType,omitempty"`
	TriggerID       string `json:"triggerId,omitempty"`
}

// CheckpointRequest is POST /v1/jobs/:jobid/checkpoints.
type CheckpointRequest struct {
	CheckpointType string `json:"checkpointType,omitempty"`
	TriggerID      string `json:"triggerId,omitempty"`
}

// TriggerResponse names an asynchronous operation.
type TriggerResponse struct {
	RequestID string `json:"request-id"`
}

// RescaleRequest is PATCH /v1/jobs/:jobid/rescaling. Vertices are named by
// their id, or the UID or name of an operator in them.
type RescaleRequest struct {
	Parallelism int `json:"parallelism,omitempty"`
	// Auto: it follows the slots from now on; the rest is ignored.
	Auto     bool           `json:"auto,omitempty"`
	Vertices map[string]int `json:"vertices,omitempty"`
}

// ResourceRequirements is GET and PUT /v1/jobs/:jobid/resource-requirements, by
// vertex id.
type ResourceRequirements map[string]VertexRequirements

// VertexRequirements are those of one vertex.
type VertexRequirements struct {
	Parallelism ParallelismBounds `json:"parallelism"`
}

// ParallelismBounds are what a vertex is to have, and at least.
type ParallelismBounds struct {
	LowerBound int `json:"lowerBound"`
	UpperBound int `json:"upperBound"`
}

// Problems is GET /v1/jobs/:jobid/problems (own path): what holds the job up,
// the likeliest cause first, by so many rules. It takes a second.
type Problems struct {
	Problems []Problem `json:"problems"`
	Rules    int       `json:"rules"`
}

// Problem is one finding. Severity is error, warning or note.
type Problem struct {
	Rule     string   `json:"rule"`
	Severity string   `json:"severity"`
	What     string   `json:"what"`
	Where    string   `json:"where,omitempty"`
	Why      string   `json:"why,omitempty"`
	Fix      []string `json:"fix,omitempty"`
}

// OperationStatus is the answer when an operation is polled.
type OperationStatus struct {
	Status    StatusID   `json:"status"`
	Operation *Operation `json:"operation"`
}

// StatusID is IN_PROGRESS or COMPLETED.
type StatusID struct {
	ID string `json:"id"`
}

// Operation is the result of a completed operation.
type Operation struct {
	Location     string        `json:"location,omitempty"`
	CheckpointID int64         `json:"checkpointId,omitempty"`
	FailureCause *FailureCause `json:"failure-cause,omitempty"`
	Error        *Error        `json:"error,omitempty"`
}

// FailureCause is Flink's form of a failed operation.
type FailureCause struct {
	Class      string `json:"class"`
	StackTrace string `json:"stack-trace"`
}

// Savepoints is GET /v1/jobs/:jobid/savepoints (own path).
type Savepoints struct {
	Savepoints []Checkpoint `json:"savepoints"`
}

// ExecutionResult is GET /v1/jobs/:jobid/execution-result.
type ExecutionResult struct {
	Status StatusID         `json:"status"`
	Result *ExecutionOutput `json:"job-execution-result,omitempty"`
}

// ExecutionOutput is the end of a job.
type ExecutionOutput struct {
	ID                string         `json:"id"`
	ApplicationStatus string         `json:"application-status"`
	AccumulatorResult map[string]any `json:"accumulator-results"`
	FailureCause      *FailureCause  `json:"failure-cause,omitempty"`
	NetRuntime        int64          `json:"net-runtime"`
	Name              string         `json:"name"`
	StartTime         int64          `json:"start-time"`
	EndTime           int64          `json:"end-time"`
}

// LogFiles is GET /v1/taskmanagers/:id/logs.
type LogFiles struct {
	Logs []LogFile `json:"logs"`
}

// LogFile is one log.
type LogFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}
