cwlVersion: v1.2
class: Workflow
doc: Make background models of many runs, in parts.
requirements:
  ScatterFeatureRequirement: {}
inputs:
  runs: {type: string, doc: absolute path on a shared file system}
  scheme: {type: string, default: GADF}
  parts: {type: "string[]", doc: "such as [1/3, 2/3, 3/3]"}
  config: File?
steps:
  count:
    run: count.cwl
    scatter: part
    in: {runs: runs, scheme: scheme, part: parts, config: config}
    out: [counts]
  merge:
    run: merge.cwl
    in: {parts: count/counts}
    out: [models]
outputs:
  models: {type: Directory, outputSource: merge/models}
