// A cohort: nextflow run main.nf --model deepbet --manifest heads.csv --out /data/masks --shards 16
nextflow.enable.dsl = 2

params.model = 'deepbet'
params.manifest = 'cases.csv'
params.out = 'results'
params.shards = 4
params.threads = 1
params.memory = '2 GB'

include { AMPOULE_SHARD } from './ampoule.nf'

workflow {
    shares = Channel.of(1..(params.shards as int)).map { share -> tuple(share, params.shards as int) }
    AMPOULE_SHARD(shares, params.model, file(params.manifest, checkIfExists: true), file(params.out).toAbsolutePath().toString())
}
