package fault

// Point names a failpoint.
type Point string

// The failpoints of the Kafka sink: the gaps between the steps of its
// two-phase commit.
const (
	KafkaSinkBeforeFlush    Point = "kafka.sink.before-flush"
	KafkaSinkAfterFlush     Point = "kafka.sink.after-flush"
	KafkaSinkAfterSeal      Point = "kafka.sink.after-seal"
	KafkaSinkBeforeCommit   Point = "kafka.sink.before-commit"
	KafkaSinkBetweenCommits Point = "kafka.sink.between-commits"
	KafkaSinkAfterCommit    Point = "kafka.sink.after-commit"
	KafkaSinkBeforeReuse    Point = "kafka.sink.before-reuse"
	KafkaSinkBeforeRecover  Point = "kafka.sink.before-recover"
	KafkaSinkRecommitted    Point = "kafka.sink.recommitted"
	KafkaSinkAfterFence     Point = "kafka.sink.after-fence"
)

// The failpoints of a checkpoint on its way from the workers' snapshots to the
// commit point and back.
const (
	WorkerBeforeUpload      Point = "worker.before-upload"
	WorkerBeforeAck         Point = "worker.before-ack"
	JobmasterBeforeManifest Point = "jobmaster.before-manifest"
	JobmasterBeforePointer  Point = "jobmaster.before-pointer"
	JobmasterAfterPointer   Point = "jobmaster.after-pointer"
)

// Names returns all failpoints.
func Names() []Point {
	return []Point{
		WorkerBeforeUpload, WorkerBeforeAck,
		JobmasterBeforeManifest, JobmasterBeforePointer, JobmasterAfterPointer,
		KafkaSinkBeforeFlush, KafkaSinkAfterFlush, KafkaSinkAfterSeal,
		KafkaSinkBeforeCommit, KafkaSinkBetweenCommits, KafkaSinkAfterCommit,
		KafkaSinkBeforeReuse, KafkaSinkBeforeRecover, KafkaSinkRecommitted,
		KafkaSinkAfterFence,
	}
}
