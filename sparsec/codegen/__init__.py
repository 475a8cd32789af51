"""Loop IR to LLVM IR and OpenCL C: target facts, legalisation, one emitter, two builders."""
