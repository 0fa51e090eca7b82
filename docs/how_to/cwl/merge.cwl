cwlVersion: v1.2
class: CommandLineTool
doc: Make models of all parts.
baseCommand: [bgnb, merge]
inputs:
  parts: {type: "Directory[]", inputBinding: {position: 1}}
arguments:
  - {position: 2, valueFrom: models}
outputs:
  models: {type: Directory, outputBinding: {glob: models}}
