cwlVersion: v1.2
class: CommandLineTool
doc: Count one part of the runs of a directory.
baseCommand: [bgnb, make-bg-cube-models]
inputs:
  runs: {type: string, doc: "absolute path that all jobs and the merge see", inputBinding: {position: 1}}
  scheme: {type: string, default: GADF, inputBinding: {position: 2}}
  part: {type: string, doc: "number of the part / number of parts", inputBinding: {position: 4, prefix: --part}}
  config: {type: "File?", doc: settings, inputBinding: {position: 5, prefix: --config}}
arguments:
  - {position: 3, valueFrom: counts}
  - {position: 6, prefix: --workers, valueFrom: "1"}
outputs:
  counts: {type: Directory, outputBinding: {glob: counts}}
