// The extension module tessera._tessera: names only; the work is the library's.
#include <nanobind/nanobind.h>

#include "python/src/bind.h"
#include "tessera/core/error.h"

namespace nb = nanobind;

NB_MODULE(_tessera, m) {
  m.doc() = "Tessera's tensors, ops and policies; use tessera.ttnn and tessera.Policy.";
  nb::exception<tessera::Error>(m, "Error", PyExc_RuntimeError);
  tessera::python::bind_engine(m);
  tessera::python::bind_tensor(m);
  tessera::python::bind_elementwise(m);
  tessera::python::bind_reorder(m);
  tessera::python::bind_matmul(m);
  tessera::python::bind_transformer(m);
  tessera::python::bind_vision(m);
  tessera::python::bind_policy(m);
}
