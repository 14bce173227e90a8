// A module: one share of a cohort. Results go into one folder that all tasks see; a task that is tried again goes on where it was.
process AMPOULE_SHARD {
    tag "${share}/${shares}"
    cpus { params.threads as int }
    // Twice and three times the memory where a task did not fit (exit code 5) or was killed for it.
    memory { (params.memory as nextflow.util.MemoryUnit) * task.attempt }
    errorStrategy { task.exitStatus in [5, 137, 143] ? 'retry' : 'terminate' }
    maxRetries 2

    input:
    tuple val(share), val(shares)
    val model
    path manifest
    val out

    output:
    path "share-${share}.log"

    script:
    """
    code=0
    ampoule run --shard ${share}/${shares} '${model}' '${manifest.toRealPath()}' -o '${out}' \\
      --threads ${task.cpus} --max-ram ${task.memory.toMega()}M > share-${share}.log 2>&1 || code=\$?
    # 1: some cases failed; failures.csv names them, and the other cases are done.
    if [ "\$code" -gt 1 ]; then cat share-${share}.log >&2; exit "\$code"; fi
    """
}
