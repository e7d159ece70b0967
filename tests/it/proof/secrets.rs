//! Keys, codes and numbers appear nowhere, whatever happens.
